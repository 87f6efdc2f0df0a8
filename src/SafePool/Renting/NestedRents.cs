using System.Collections.Concurrent;
using SafePool.Leases;
using SafePool.Logging;
using SafePool.Reports;

namespace SafePool.Renting;

/// <summary>Finds rents that are made while the same flow holds a lease.</summary>
/// <remarks>
/// A rent is noted in an <see cref="AsyncLocal{T}"/> of the pool, in the caller's own context: so <see cref="Enter"/> must run before the first await. What has ended
/// is forgotten when the next rent is noted, so a loop of rents makes no chain. Nothing here refers to a <see cref="LeaseHandle"/>.
/// </remarks>
internal sealed class NestedRents(PoolParts parts)
{
    private const int MaxWarnings = 256;

    private readonly AsyncLocal<RentFlow?> _current = new();
    private readonly ConcurrentDictionary<(RentSite Outer, RentSite Inner), byte> _warned = new();

    /// <summary>Notes a rent.</summary>
    /// <exception cref="InvalidOperationException">It is nested, and that is not allowed.</exception>
    public RentFlow Enter(in RentSite site)
    {
        var flow = new RentFlow(_current.Value, site, parts.Watch.CurrentTrace());
        flow.Shorten();
        if (flow.NearestHolding() is { } holding)
        {
            Object(flow, holding);
        }

        _current.Value = flow;
        return flow;
    }

    private void Object(RentFlow inner, RentFlow outer)
    {
        parts.Recorder.Record(FlightEventKind.Nested, site: inner.Site);
        if (parts.Settings.Leaks.NestedRents == NestedRentPolicy.Throw)
        {
            throw new InvalidOperationException(LeakSentences.Nested(parts.Settings.Name, inner.Site, outer.Site));
        }

        if (_warned.Count < MaxWarnings && _warned.TryAdd((outer.Site, inner.Site), 0))
        {
            Log.Nested(parts.Logger, parts.Settings.Name, inner.Site.ToString(), outer.Site.ToString());
        }
    }
}
