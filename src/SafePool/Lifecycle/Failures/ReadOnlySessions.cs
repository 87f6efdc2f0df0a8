using System.Data;
using Npgsql;
using SafePool.Driver.Hosts;
using SafePool.Leases;
using SafePool.Logging;

namespace SafePool.Lifecycle.Failures;

/// <summary>Finds out whether a write was refused (25006) because the sessions of the pool are on a standby, where a new one would not be.</summary>
/// <remarks>
/// <para>
/// A session that is read-only because somebody wished it so (<c>BEGIN READ ONLY</c>, <c>default_transaction_read_only</c>, <c>Target Session Attributes=standby</c>) gives the same error, and is left alone. A server from 14 on
/// reports of itself whether it is a standby, so the sessions that execute are asked without a word; of an older one, and behind a pooler, an idle connection is asked, or the next that comes back.
/// </para>
/// <para>Then one connection is opened, outside of the pool, and closed again: only when that is not on a standby are the others retired. Once a second at most.</para>
/// </remarks>
internal sealed class ReadOnlySessions(PoolParts parts)
{
    private static readonly TimeSpan _again = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _saidAgain = TimeSpan.FromSeconds(30);

    private readonly bool _standbyIsWished = WishesStandby(parts.Settings.ConnectionText);
    private int _isAsking;
    private long _nextQuestion = long.MinValue;
    private long _nextWords = long.MinValue;

    /// <summary>Asks an idle connection, or the next that comes back, whether it is on a standby; null when there is none, or no answer. The sweep's, which comes later.</summary>
    public Func<Task<bool?>>? AskIdle { get; set; }

    /// <summary>A write was refused in one of these sessions. Called on the thread that throws: asks in the background.</summary>
    public void Suspect(SessionFailures failures, IReadOnlyList<LeaseSlot> sessions)
    {
        if (_standbyIsWished || parts.Clock.Exact < Volatile.Read(ref _nextQuestion) || Interlocked.Exchange(ref _isAsking, 1) == 1)
        {
            return;
        }

        var generation = parts.Physicals.Generation;
        var (onStandby, onPrimary) = (0, 0);
        foreach (var slot in sessions)
        {
            if (slot.Generation == generation && RoleQuestion.ReportedStandby(slot.Connection) is { } standby)
            {
                (onStandby, onPrimary) = standby ? (onStandby + 1, onPrimary) : (onStandby, onPrimary + 1);
            }
        }

        // Sessions on both: then it takes a question too.
        bool? known = onStandby > 0 && onPrimary == 0 ? true : onPrimary > 0 && onStandby == 0 ? false : null;
        ThreadPool.UnsafeQueueUserWorkItem(
            static state => _ = state.Self.AskAsync(state.Failures, state.Generation, state.Known), (Self: this, Failures: failures, Generation: generation, Known: known), preferLocal: false);
    }

    private static bool WishesStandby(string connectionText)
        => new NpgsqlConnectionStringBuilder(connectionText).TargetSessionAttributes is { } wish
            && (wish.Contains("standby", StringComparison.OrdinalIgnoreCase) || wish.Equals("read-only", StringComparison.OrdinalIgnoreCase));

    /// <summary>Never throws.</summary>
    private async Task AskAsync(SessionFailures failures, int generation, bool? known)
    {
        try
        {
            Volatile.Write(ref _nextQuestion, parts.Clock.After(parts.Clock.Exact, _again));
            if ((known ?? await AskAnIdleOneAsync().ConfigureAwait(false)) is true)
            {
                using var patience = new CancellationTokenSource(parts.Settings.ConnectTimeout, parts.Time);
                switch (await parts.Source.LeadsToStandbyAsync(patience.Token).ConfigureAwait(false))
                {
                    case false:
                        failures.Retire(generation, PostgresErrorCodes.ReadOnlySqlTransaction, "the session is on a standby, a new one would not be", grows: true);
                        break;
                    case true when parts.Clock.Exact >= _nextWords:
                        _nextWords = parts.Clock.After(parts.Clock.Exact, _saidAgain);
                        Log.OnStandby(parts.Logger, parts.Settings.Name);
                        break;
                }
            }
        }
        catch (Exception error)
        {
            // The next refused write asks again.
            Log.ControlFailed(parts.Logger, parts.Settings.Name, "ask for the server's role", error);
        }
        finally
        {
            Volatile.Write(ref _isAsking, 0);
        }
    }

    private Task<bool?> AskAnIdleOneAsync() => AskIdle?.Invoke() ?? Task.FromResult<bool?>(null);
}
