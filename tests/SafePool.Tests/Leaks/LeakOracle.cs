namespace SafePool.Tests.Leaks;

/// <summary>The simplest thing that could be true about leak reports: what each look must say, from the rules alone.</summary>
internal sealed class LeakOracle(TimeSpan threshold, TimeSpan busyThreshold, TimeSpan abandonAfter, bool terminatesRunning)
{
    private readonly List<Entry> _out = [];

    /// <summary>A lease began.</summary>
    public void Rented(long leaseId, int place, TimeSpan now, TimeSpan? expectedHold)
        => _out.Add(new Entry(leaseId, place, now, expectedHold ?? threshold) { QuietSince = now });

    public void Used(long leaseId, TimeSpan now)
    {
        var lease = Find(leaseId);
        lease.QuietSince = now;
        lease.BusySince = lease.BusySince is null ? null : now;
    }

    public void SetBusy(long leaseId, bool isBusy) => Find(leaseId).IsBusy = isBusy;

    /// <summary>A lease was returned; true when that must be said.</summary>
    public bool Returned(long leaseId)
    {
        var lease = Find(leaseId);
        _out.Remove(lease);
        return lease.IsAnnounced;
    }

    /// <summary>One look at all leases, with so many callers waiting and none about to be served otherwise.</summary>
    public List<string> Look(TimeSpan now, int waiting)
    {
        List<string> said = [];
        List<Entry> suspects = [];
        foreach (var lease in _out.OrderBy(lease => lease.Place))
        {
            NoteActivity(lease, now);
            var held = now - lease.RentedAt;
            if (held < lease.Threshold)
            {
                continue;
            }

            if (lease.IsAnnounced)
            {
                suspects.Add(lease);
            }
            else if (!lease.IsBusy || held >= (busyThreshold >= lease.Threshold ? busyThreshold : lease.Threshold * 2))
            {
                lease.IsAnnounced = true;
                said.Add($"overdue {lease.Id}");
            }
            else if (!lease.IsMentioned)
            {
                lease.IsMentioned = true;
                said.Add($"busy {lease.Id}");
            }
        }

        said.AddRange(Abandon(suspects, now, waiting));
        return said;
    }

    private IEnumerable<string> Abandon(List<Entry> suspects, TimeSpan now, int waiting)
    {
        var abandoned = suspects
            .Where(lease => lease.IsBusy ? terminatesRunning && now - lease.BusySince >= abandonAfter : now - lease.QuietSince >= abandonAfter)
            .OrderByDescending(lease => lease.IsBusy ? TimeSpan.Zero : now - lease.QuietSince)
            .Take(waiting)
            .ToArray();
        _out.RemoveAll(lease => abandoned.Contains(lease));
        return abandoned.Select(lease => $"abandoned {lease.Id}");
    }

    private static void NoteActivity(Entry lease, TimeSpan now)
    {
        if (lease.IsBusy)
        {
            lease.BusySince ??= now;
            lease.QuietSince = now;
        }
        else
        {
            lease.BusySince = null;
        }
    }

    private Entry Find(long leaseId) => _out.Single(lease => lease.Id == leaseId);

    private sealed record Entry(long Id, int Place, TimeSpan RentedAt, TimeSpan Threshold)
    {
        public bool IsBusy { get; set; }

        public TimeSpan? BusySince { get; set; }

        public TimeSpan QuietSince { get; set; }

        public bool IsMentioned { get; set; }

        public bool IsAnnounced { get; set; }
    }
}
