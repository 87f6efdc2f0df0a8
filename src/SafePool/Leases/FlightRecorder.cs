using System.Globalization;
using System.Text;
using SafePool.Reports;
using SafePool.Time;

namespace SafePool.Leases;

/// <summary>The last events of a pool, kept in memory that is never more and never less, for the moment when somebody asks what led to this.</summary>
/// <remarks>
/// <para>
/// Two parts. Rents and returns are kept by each slot (the last eight of every place, as it writes them down anyway), so the hot path shares nothing and the
/// lease that never came back is always among them. Everything else goes into one ring.
/// </para>
/// <para>
/// Thread-safety: a writer takes a number, then marks its entry as being written, writes, and marks it with the number. A reader takes entries whose mark
/// is the same before and after. Two writers meet in one entry only when one of them sleeps for a whole round: whoever finds the other's mark leaves it
/// alone, so an event may be missing, but none is made of two.
/// </para>
/// </remarks>
internal sealed class FlightRecorder(LeaseLedger ledger, PoolClock clock)
{
    private const int Capacity = 512;
    private const long BeingWritten = -1;

    private readonly Entry[] _ring = new Entry[Capacity];
    private long _recorded;

    public void Record(FlightEventKind kind, int place = -1, long leaseId = 0, in RentSite site = default)
    {
        var happened = new FlightEvent(clock.Exact, kind, place, leaseId, site);
        var number = Interlocked.Increment(ref _recorded);
        ref var entry = ref _ring[number & (Capacity - 1)];
        var before = Volatile.Read(ref entry.Number);
        if (before == BeingWritten || before > number || Interlocked.CompareExchange(ref entry.Number, BeingWritten, before) != before)
        {
            return;
        }

        entry.Event = happened;
        Volatile.Write(ref entry.Number, number);
    }

    /// <summary>All that is remembered, oldest first.</summary>
    public List<FlightEvent> Events()
    {
        List<FlightEvent> events = [];
        var last = Volatile.Read(ref _recorded);
        for (var i = 1; i <= Capacity; i++)
        {
            ref var entry = ref _ring[(last + i) & (Capacity - 1)];
            var number = Volatile.Read(ref entry.Number);
            var happened = entry.Event;
            Volatile.ReadBarrier();
            if (number > 0 && Volatile.Read(ref entry.Number) == number)
            {
                events.Add(happened);
            }
        }

        foreach (var slot in ledger.Slots)
        {
            events.AddRange(EventsOf(slot));
        }

        // Stable, so that what one place or one ring saw in the same tick stays in its order.
        return [.. events.OrderBy(happened => happened.At)];
    }

    /// <summary>All that is remembered, as text: one event a line, with how long ago it was; the same again and again is one line.</summary>
    public string Dump()
    {
        var text = new StringBuilder();
        var events = Events();
        for (var at = 0; at < events.Count;)
        {
            var happened = events[at];
            var times = 1;
            while (at + times < events.Count && events[at + times] with { At = happened.At } == happened)
            {
                times++;
            }

            Write(text, happened, times);
            at += times;
        }

        return text.ToString();
    }

    private void Write(StringBuilder text, in FlightEvent happened, int times)
    {
        text.Append(CultureInfo.InvariantCulture, $"{-clock.Since(happened.At).TotalSeconds,10:0.000} s  {Sentences.Name(happened.Kind),-20}");
        if (happened.Place >= 0)
        {
            text.Append(CultureInfo.InvariantCulture, $" place {happened.Place}");
        }

        if (happened.LeaseId != 0)
        {
            text.Append(CultureInfo.InvariantCulture, $" lease {happened.LeaseId}");
        }

        if (happened.Site.FilePath is not null)
        {
            text.Append(CultureInfo.InvariantCulture, $" {happened.Site}");
        }

        if (times > 1)
        {
            text.Append(CultureInfo.InvariantCulture, $" ({times} times)");
        }

        text.AppendLine();
    }

    private static IEnumerable<FlightEvent> EventsOf(LeaseSlot slot)
    {
        foreach (var lease in slot.Remember())
        {
            yield return new FlightEvent(lease.RentedAt, FlightEventKind.Rent, slot.Place, lease.LeaseId, lease.Site);
            if (lease.LeaseId != slot.LeaseId)
            {
                // A coarse clock may lag behind the exact time at which the lease began.
                yield return new FlightEvent(Math.Max(lease.ReturnedAt, lease.RentedAt), FlightEventKind.Return, slot.Place, lease.LeaseId, lease.Site);
            }
        }
    }

    private struct Entry
    {
        public long Number;
        public FlightEvent Event;
    }
}
