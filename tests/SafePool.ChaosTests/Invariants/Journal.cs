using System.Collections.Concurrent;
using System.Globalization;

namespace SafePool.ChaosTests.Invariants;

/// <summary>What workers have met: how often each outcome, and everything that must not be.</summary>
/// <remarks>Thread-safety: every member may be called from any thread. Bounded, so that the journal itself does not grow with the load.</remarks>
internal sealed class Journal(Canary canary)
{
    private const int MostViolations = 20;
    private const int MostSuspects = 10_000;

    /// <summary>What a rent, or a return, may take beyond its budget, on top of the noise that the canary saw.</summary>
    private static readonly TimeSpan _leeway = TimeSpan.FromMilliseconds(250);

    private readonly ConcurrentDictionary<string, long> _tallies = new(StringComparer.Ordinal);
    private readonly ConcurrentQueue<string> _violations = [];
    private readonly ConcurrentQueue<Suspect> _suspects = [];
    private long _requests;

    /// <summary>Gets or sets what rents with a timeout to set may take on top, for a fault that is known.</summary>
    public TimeSpan GrantedToWords { get; set; }

    public long Requests => Volatile.Read(ref _requests);

    public bool HasViolations => !_violations.IsEmpty;

    public IReadOnlyCollection<string> Violations => _violations;

    public void CountRequest() => Interlocked.Increment(ref _requests);

    public void Count(string outcome) => _tallies.AddOrUpdate(outcome, 1, static (_, seen) => seen + 1);

    public void Violate(string what)
    {
        if (_violations.Count < MostViolations)
        {
            _violations.Enqueue(what);
        }
    }

    /// <summary>Something with a budget has ended. Whether it was too late is judged once the noise of that time is known.</summary>
    public void Took(string what, long from, TimeSpan budget)
    {
        var until = TimeProvider.System.GetTimestamp();
        if (TimeProvider.System.GetElapsedTime(from, until) > budget + _leeway && _suspects.Count < MostSuspects)
        {
            _suspects.Enqueue(new Suspect(what, from, until, budget));
        }
    }

    /// <summary>Makes violations of what was late without the machine's being late. Call it when all is quiet.</summary>
    public void Judge()
    {
        while (_suspects.TryDequeue(out var suspect))
        {
            var took = TimeProvider.System.GetElapsedTime(suspect.From, suspect.Until);
            var noise = canary.NoiseBetween(suspect.From, suspect.Until);
            if (took > suspect.Budget + _leeway + noise)
            {
                Violate(string.Create(
                    CultureInfo.InvariantCulture,
                    $"{suspect.What} took {took.TotalMilliseconds:0} ms with a budget of {suspect.Budget.TotalMilliseconds:0} ms; {noise.TotalMilliseconds:0} ms were granted for the machine's own lateness"));
            }
            else
            {
                Count("late, but so was the machine");
            }
        }

        canary.ForgetBefore(TimeProvider.System.GetTimestamp());
    }

    public override string ToString()
        => string.Join(Environment.NewLine, _tallies.OrderBy(tally => tally.Key, StringComparer.Ordinal).Select(tally => $"  {tally.Value,8} {tally.Key}"));

    private readonly record struct Suspect(string What, long From, long Until, TimeSpan Budget);
}
