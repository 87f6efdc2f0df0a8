using System.Data;
using Npgsql;
using SafePool.Leases;
using SafePool.Logging;

namespace SafePool.Lifecycle.Failures;

/// <summary>Retires the sessions of a pool, once, when a command fails with an error that says that they are wrong for their purpose (design decision 71).</summary>
/// <remarks>
/// <para>
/// That is: a plan that an ALTER TABLE has made stale (0A000 from the routine that revalidates plans, and no other 0A000), what the user has named in <see cref="ConnectionPoolOptions.RetireOn"/>, and 25006 once it is
/// sure that the session is on a standby and a new one would not be (<see cref="ReadOnlySessions"/>).
/// </para>
/// <para>
/// Called on the thread that throws the error. There the generation ends, and what is idle of it, so that whoever rents next meets no session of it and nothing that is opened since ends with it; everything else goes on in the background. An error of a session that was retired before says
/// nothing new: so the sessions that execute in this instant are looked at, the one that fails is among them.
/// </para>
/// </remarks>
internal sealed class SessionFailures(PoolParts parts)
{
    // The same in every language; it revalidates plans of prepared statements and of PL/pgSQL.
    private const string RevalidatesPlans = "RevalidateCachedQuery";

    // After a retirement, while leases of before still run beside those of after, nobody can tell whose error it is.
    private static readonly TimeSpan _ambiguous = TimeSpan.FromSeconds(5);

    private readonly RetirementPauses _pauses = new(parts.Clock);
    private long _retiredAt = long.MinValue;

    public ReadOnlySessions ReadOnly { get; } = new(parts);

    /// <summary>Counts what was idle as gone and opens what is wanted, once a generation has ended: the opener's, which comes later.</summary>
    public Action? Replace { get; set; }

    /// <summary>A command failed, and its connection lives. Must be quick.</summary>
    public void OnFailed(PostgresException error)
    {
        if (parts.Settings.RetireOn.Contains(error.SqlState))
        {
            RetireIfPresent(error, "RetireOn names it", grows: true, ConnectionState.Executing | ConnectionState.Fetching);
        }
        else if (error is { SqlState: PostgresErrorCodes.FeatureNotSupported, Routine: RevalidatesPlans })
        {
            RetireIfPresent(error, "a prepared statement no longer fits its table", grows: false, ConnectionState.Executing | ConnectionState.Fetching);
        }
        else if (error.SqlState == PostgresErrorCodes.ReadOnlySqlTransaction)
        {
            parts.Roles.Suspect();
            ReadOnly.Suspect(this, Sessions(ConnectionState.Executing | ConnectionState.Fetching));
        }
    }

    /// <summary>A session broke with its command, of whichever pool. Must be quick.</summary>
    public void OnBroken(PostgresException error)
    {
        if (parts.Settings.RetireOn.Contains(error.SqlState))
        {
            RetireIfPresent(error, "RetireOn names it", grows: true, ConnectionState.Broken);
        }
    }

    /// <summary>Retires every session of a generation, unless somebody did, or this error did a moment ago.</summary>
    public void Retire(int generation, string sqlState, string reason, bool grows)
    {
        if (generation != parts.Physicals.Generation || !_pauses.TryBegin(sqlState, grows, out var pause) || !parts.Physicals.TryAdvance(generation))
        {
            return;
        }

        Volatile.Write(ref _retiredAt, parts.Clock.Exact);
        try
        {
            parts.Source.Clear();
        }
        finally
        {
            ThreadPool.UnsafeQueueUserWorkItem(static state => state.Self.Finish(state.SqlState, state.Reason, state.Pause), (Self: this, SqlState: sqlState, Reason: reason, Pause: pause), preferLocal: false);
        }
    }

    private void RetireIfPresent(PostgresException error, string reason, bool grows, ConnectionState state)
    {
        var generation = parts.Physicals.Generation;
        var (present, older) = (0, 0);
        foreach (var slot in Sessions(state))
        {
            (present, older) = slot.Generation == generation ? (present + 1, older) : (present, older + 1);
        }

        if (present > 0 && (older == 0 || !IsAmbiguous()))
        {
            Retire(generation, error.SqlState, reason, grows);
        }
    }

    private bool IsAmbiguous() => Volatile.Read(ref _retiredAt) is var at and not long.MinValue && parts.Clock.Since(at) < _ambiguous;

    /// <summary>The places whose connections are in one of these states. The failing one is among them.</summary>
    private List<LeaseSlot> Sessions(ConnectionState state)
    {
        var sessions = new List<LeaseSlot>();
        foreach (var slot in parts.Ledger.Slots)
        {
            if (slot.Connection is { } connection && (parts.Source.StateOf(connection) & state) != 0)
            {
                sessions.Add(slot);
            }
        }

        return sessions;
    }

    private void Finish(string sqlState, string reason, TimeSpan pause)
    {
        try
        {
            parts.Recorder.Record(FlightEventKind.SessionsRetired);
            Log.SessionsRetired(parts.Logger, parts.Settings.Name, sqlState, reason, pause.TotalSeconds);
            Replace?.Invoke();
        }
        catch (Exception error)
        {
            Log.MaintenanceFailed(parts.Logger, parts.Settings.Name, error);
        }
    }
}
