namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0007: docs/rules/SFP0007.md.</summary>
public class SFP0007Blocked(IConnectionPool pool)
{
    public long Id()
    {
        using var lease = pool.RentAsync().AsTask().GetAwaiter().GetResult();
        return lease.Id;
    }
}
