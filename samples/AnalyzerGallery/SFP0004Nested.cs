namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0004: docs/rules/SFP0004.md.</summary>
public class SFP0004Nested(IConnectionPool pool)
{
    public async Task MoveAsync(CancellationToken cancellationToken)
    {
        await using var from = await pool.RentAsync(cancellationToken);
        await using var to = await pool.RentAsync(cancellationToken);
    }
}
