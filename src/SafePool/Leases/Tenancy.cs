namespace SafePool.Leases;

/// <summary>One lease on a slot: the present one, or one of the last few.</summary>
internal record struct Tenancy
{
    /// <summary>0 until it is issued.</summary>
    public long LeaseId { get; set; }

    public RentSite Site { get; set; }

    /// <summary>By the coarse clock unless <see cref="IsExact"/>.</summary>
    public long RentedAt { get; set; }

    /// <summary>By the coarse clock; means nothing while the lease is out.</summary>
    public long ReturnedAt { get; set; }

    /// <summary>It was rented at an exact time, so its return takes another one: a sample of how long leases are held.</summary>
    public bool IsExact { get; set; }
}
