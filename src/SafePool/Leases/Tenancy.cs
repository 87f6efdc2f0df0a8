using SafePool.Reports;

namespace SafePool.Leases;

/// <summary>One lease on a slot: the present one, or one of the last few. A slot has a ring of them, made once and written over again.</summary>
internal sealed class Tenancy
{
    private Tenancy() => Next = this;

    /// <summary>The one that is written over next, and so the oldest.</summary>
    public Tenancy Next { get; private set; }

    /// <summary>0 until it is issued.</summary>
    public long LeaseId { get; set; }

    public RentSite Site { get; set; }

    /// <summary>By the coarse clock unless <see cref="IsExact"/>.</summary>
    public long RentedAt { get; set; }

    /// <summary>By the coarse clock; means nothing while the lease is out.</summary>
    public long ReturnedAt { get; set; }

    /// <summary>It was rented at an exact time, so its return takes another one: a sample of how long leases are held.</summary>
    public bool IsExact { get; set; }

    public static Tenancy Ring(int size)
    {
        var first = new Tenancy();
        for (var i = 1; i < size; i++)
        {
            first.Next = new Tenancy { Next = first.Next };
        }

        return first;
    }
}

/// <summary>A lease that is remembered.</summary>
internal readonly record struct PastLease(long LeaseId, RentSite Site, long RentedAt, long ReturnedAt);
