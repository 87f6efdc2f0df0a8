using System.Collections.Concurrent;
using SafePool.Driver;
using SafePool.Leases;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.Diagnostics;

/// <summary>Asks the server, in the background, what the sessions of the holders are doing.</summary>
/// <remarks>
/// One question at a time, at most one a second, each bounded by the control connection's own patience. What it learned of a lease is kept until the next
/// answer or the end of that lease, and grows older with the clock.
/// </remarks>
internal sealed class BackendInspector(LeaseLedger ledger, IConnectionSource source, PoolClock clock, LeakSettings leaks)
{
    private static readonly TimeSpan _pause = TimeSpan.FromSeconds(1);

    // Longer than the pause, so that a late look does not ask for ever.
    private static readonly TimeSpan _freshFor = _pause * 2;

    private readonly ConcurrentDictionary<int, Answer> _answers = new();
    private volatile bool _isEnabled = leaks.InspectBackends;
    private long _nextQuestion = long.MinValue;
    private long _failedAt = long.MinValue;
    private int _isAsking;

    public bool IsEnabled => _isEnabled;

    /// <summary>When the server last failed to answer, if it has not answered since.</summary>
    public TimeSpan? SilentFor => Volatile.Read(ref _failedAt) is var at and not long.MinValue ? clock.Since(at) : null;

    /// <summary>What the server said about a lease; null if it said nothing, or was not asked.</summary>
    public BackendActivity? Of(LeaseSlot slot, long leaseId)
    {
        if (_answers.GetValueOrDefault(slot.Place) is not { Activity: { } activity } answer || answer.LeaseId != leaseId)
        {
            return null;
        }

        var since = clock.Since(answer.At);
        return activity with
        {
            StateAge = activity.StateAge + since,
            QueryAge = activity.QueryAge + since,
            TransactionAge = activity.TransactionAge + since,
        };
    }

    /// <summary>Changes whether it asks.</summary>
    public void Apply(LeakSettings leaks) => _isEnabled = leaks.InspectBackends;

    /// <summary>Whether something was learned of a lease just now, or will not be: nobody is asked, or the server did not answer.</summary>
    public bool HasAnswered(LeaseSlot slot, long leaseId)
        => !_isEnabled
            || SilentFor <= _freshFor
            || (_answers.GetValueOrDefault(slot.Place) is { } answer && answer.LeaseId == leaseId && clock.Since(answer.At) <= _freshFor);

    /// <summary>Begins to ask about all leases that are out, unless it is being asked, or was a moment ago.</summary>
    public void Ask()
    {
        if (!_isEnabled || clock.Exact < Volatile.Read(ref _nextQuestion) || Interlocked.Exchange(ref _isAsking, 1) == 1)
        {
            return;
        }

        using (ExecutionContext.SuppressFlow())
        {
            _ = Task.Run(AskAsync);
        }
    }

    private async Task AskAsync()
    {
        try
        {
            List<(LeaseSlot Slot, long LeaseId)> asked = [];
            List<Npgsql.NpgsqlConnection> connections = [];
            foreach (var slot in ledger.Slots)
            {
                if (slot.LeaseId is var id and not 0 && slot.Connection is { } connection)
                {
                    asked.Add((slot, id));
                    connections.Add(connection);
                }
            }

            var answers = await source.InspectAsync(connections).ConfigureAwait(false);
            Volatile.Write(ref _failedAt, answers is null ? clock.Exact : long.MinValue);
            for (var i = 0; i < asked.Count && answers is not null; i++)
            {
                var (slot, leaseId) = asked[i];
                _answers[slot.Place] = new Answer(leaseId, clock.Exact, answers.GetValueOrDefault(connections[i]));
            }
        }
        finally
        {
            Volatile.Write(ref _nextQuestion, clock.After(clock.Exact, _pause));
            Volatile.Write(ref _isAsking, 0);
        }
    }

    // No activity: the server was asked and does not know the session, or does not show it to this role.
    private sealed record Answer(long LeaseId, long At, BackendActivity? Activity);
}
