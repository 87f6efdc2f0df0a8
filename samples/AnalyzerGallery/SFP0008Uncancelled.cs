namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0008: docs/rules/SFP0008.md.</summary>
public class SFP0008Uncancelled(IConnectionPool pool)
{
    public async Task<long> IdAsync(CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync();
        return lease.Id;
    }
}
