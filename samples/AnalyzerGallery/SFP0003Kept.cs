namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0003: docs/rules/SFP0003.md.</summary>
public class SFP0003Kept(IConnectionPool pool)
{
    private Lease _lease;

    public void Open() => _lease = pool.Rent();

    public long Id => _lease.Id;
}
