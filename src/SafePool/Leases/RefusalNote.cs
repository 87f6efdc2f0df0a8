namespace SafePool.Leases;

/// <summary>Where a refusal is put that shall not be thrown where it is found out.</summary>
internal class RefusalNote
{
    public Refusal? Refusal { get; set; }
}
