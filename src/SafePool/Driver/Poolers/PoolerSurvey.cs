using System.Data;
using Npgsql;
using SafePool.Leases;
using SafePool.Options;

namespace SafePool.Driver.Poolers;

/// <summary>Finds out whether a pooler hands out backends by session or by transaction.</summary>
/// <remarks>
/// <para>
/// Two connections, neither in a transaction, ask turn by turn which backend serves them. One that serves both while both live, or a connection that is served by two, proves transactions. The
/// order is irregular, because a pooler that gives out its backends round robin would keep step with a regular one; one that prefers the backend used last is
/// caught at the first question.
/// </para>
/// <para>
/// That it is by session cannot be proven, only become likely: other clients may take the tell-tale backend away between two questions, each time, and it may be another pooler tomorrow. So whoever relies on it
/// looks again (<see cref="LeaseTimeouts.TrySetAsync"/>), and every open asks again (<see cref="PathFinder.AskAgainAsync"/>).
/// </para>
/// </remarks>
internal sealed class PoolerSurvey(PoolSettings settings, SessionGreeting greeting, TimeProvider clock)
{
    // The first two are asked outright.
    private const string Order = "ABABBAABAAB";

    // For the second connection. A pooler in which all backends are in use would keep it waiting for minutes.
    private static readonly TimeSpan _longest = TimeSpan.FromSeconds(1);

    /// <summary>Gets how long a survey takes at most: a second, or half of <see cref="PoolSettings.ConnectTimeout"/>.</summary>
    public TimeSpan Patience { get; } = settings.ConnectTimeout / 2 < _longest ? settings.ConnectTimeout / 2 : _longest;

    /// <summary>Never throws but for cancellation and what the first connection says.</summary>
    public async ValueTask<PathKind> FindKindAsync(
        NpgsqlConnection first, SessionIdentity session, Func<NpgsqlDataSource> buildSecond, bool blocking, CancellationToken cancellationToken)
    {
        // A process id alone is no backend: two servers behind one pooler may have equal ones.
        var (own, withServer) = (SessionGreeting.BackendOf(session), session.Server is not null);
        if (await greeting.AskBackendAsync(first, withServer, blocking, turn: 1, cancellationToken).ConfigureAwait(false) != own)
        {
            return PathKind.TransactionPooler;
        }

        using var timeout = new CancellationTokenSource(Patience, clock);
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, timeout.Token);
        try
        {
            var server = blocking
                ? UnpooledConnection.Open(buildSecond, Patience + OpenAttempt.Grace)
                : await UnpooledConnection.OpenAsync(buildSecond, clock, patience.Token).ConfigureAwait(false);
            await using var disposal = server.ConfigureAwait(false);
            var second = server.Connection;
            var other = await greeting.AskBackendAsync(second, withServer, blocking, turn: 0, patience.Token, Patience).ConfigureAwait(false);

            // A first that has died leaves its backend to the next client, by session too. So it has to answer again.
            var isShared = other == own && await greeting.AskBackendAsync(first, withServer, blocking, Order.Length, cancellationToken).ConfigureAwait(false) is not null;
            for (var turn = 2; turn < Order.Length && !isShared; turn++)
            {
                var (connection, expected, token, bound) = Order[turn] == 'A' ? (first, own, cancellationToken, settings.ConnectTimeout) : (second, other, patience.Token, Patience);
                isShared = await greeting.AskBackendAsync(connection, withServer, blocking, turn, token, bound).ConfigureAwait(false) != expected;
            }

            return isShared ? PathKind.TransactionPooler : PathKind.SessionPooler;
        }
        catch (Exception) when (!cancellationToken.IsCancellationRequested && first.FullState == ConnectionState.Open)
        {
            // No second client was let in, or no second backend was free.
            return PathKind.UncertainPooler;
        }
    }
}
