using SafePool.Admission;
using SafePool.Lifecycle;
using SafePool.Time;

namespace SafePool.Maintenance;

/// <summary>Tells how many of the connections at rest may have a reset that was not sent yet, though rents and returns leave no note of it.</summary>
/// <remarks>
/// <para>
/// Npgsql's connections at rest are a queue: taken at the head, put back at the tail. So whatever came to rest since the last round is behind
/// everything that this round sent, and the idle stack counts it anyway (<see cref="IdleMoves"/>). Those that rest under a place that is not idle (a return
/// between its two steps, a lease whose user has closed the connection) are behind it as well: a round that goes on to the end of the queue meets them.
/// </para>
/// <para>
/// In doubt (others came or went during a round, the round was cut short, the pool was busy) all of them may: too much is sent then, never too little.
/// </para>
/// <para>Thread-safety: none; the sweep is its only caller.</para>
/// </remarks>
internal sealed class UnsentResets(PoolClock clock)
{
    private const int All = int.MaxValue / 2;
    private static readonly TimeSpan _patience = TimeSpan.FromSeconds(1);

    // How many came to rest between the last looks: those of one second.
    private readonly int[] _arrivals = new int[(int)(_patience / MaintenanceLoop.Period)];
    private int _looks;
    private IdleMoves _seen;
    private int _rearranged;
    private long _dueAt = long.MaxValue;

    /// <summary>How many, from the end of the queue, may have one.</summary>
    public int Count { get; private set; }

    /// <summary>Whether the pool is busy: so many came to rest within a second that every idle connection was touched, and the resets travel by themselves.</summary>
    public bool IsBusy { get; private set; }

    /// <summary>Whether nothing has come to rest since the last look.</summary>
    public bool HasSeenAll(IdleMoves idle, int rearranged) => idle.PushesSince(_seen) == 0 && rearranged == _rearranged;

    /// <summary>Whether some have been waiting for long enough.</summary>
    public bool IsDue => Count > 0 && !IsBusy && clock.Exact >= _dueAt;

    /// <summary>Takes note of what has come to rest since the last look.</summary>
    /// <param name="idle">The idle stack now.</param>
    /// <param name="rearranged"><see cref="ConnectionOpener.Rearranged"/>, read before.</param>
    public void Look(IdleMoves idle, int rearranged)
    {
        var arrived = idle.PushesSince(_seen) + (rearranged - _rearranged);
        (_seen, _rearranged) = (idle, rearranged);
        _arrivals[_looks++ % _arrivals.Length] = arrived;
        var lately = _arrivals.Sum();
        IsBusy = lately > 0 && lately >= idle.Count;
        if (arrived > 0)
        {
            _dueAt = Count == 0 ? clock.After(clock.Exact, _patience) : _dueAt;
            Count = IsBusy ? All : Math.Min(All, Count + arrived);
        }
    }

    /// <summary>A round has sent them all, alone.</summary>
    /// <param name="idle">The idle stack now.</param>
    public void Sent(IdleMoves idle)
    {
        _seen = idle;
        Count = 0;
    }

    /// <summary>A round did not send them, was not alone, or did not come to its end: the next one may follow at once.</summary>
    /// <param name="idle">The idle stack now.</param>
    public void Doubt(IdleMoves idle)
    {
        _dueAt = Count == 0 ? clock.After(clock.Exact, _patience) : _dueAt;
        _seen = idle;
        Count = All;
    }
}
