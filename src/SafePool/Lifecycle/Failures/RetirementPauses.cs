using SafePool.Time;

namespace SafePool.Lifecycle.Failures;

/// <summary>How soon a SQLSTATE may retire the connections of a pool again, so that a query that always fails does not make it open connections for ever.</summary>
/// <remarks>Not within a second; and when new sessions fail like the old ones, twice as long each time, up to half a minute. Thread-safety: every member may be called from any thread.</remarks>
internal sealed class RetirementPauses(PoolClock clock)
{
    private static readonly TimeSpan _least = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _most = TimeSpan.FromSeconds(30);

    private readonly Lock _gate = new();
    private readonly Dictionary<string, Pause> _pauses = new(StringComparer.Ordinal);

    /// <summary>Whether it may now; then it has.</summary>
    /// <param name="sqlState">What failed.</param>
    /// <param name="grows">A new session may fail with it again.</param>
    /// <param name="length">For how long it may not again; zero when it may not now.</param>
    public bool TryBegin(string sqlState, bool grows, out TimeSpan length)
    {
        var now = clock.Exact;
        lock (_gate)
        {
            length = _least;
            if (_pauses.TryGetValue(sqlState, out var last))
            {
                var since = clock.Provider.GetElapsedTime(last.At, now);
                if (since < last.Length)
                {
                    length = TimeSpan.Zero;
                    return false;
                }

                if (grows && since < 2 * last.Length)
                {
                    length = last.Length * 2 < _most ? last.Length * 2 : _most;
                }
            }

            _pauses[sqlState] = new Pause(now, length);
            return true;
        }
    }

    private readonly record struct Pause(long At, TimeSpan Length);
}
