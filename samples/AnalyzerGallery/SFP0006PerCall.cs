namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0006: docs/rules/SFP0006.md.</summary>
public class SFP0006PerCall(IConnectionPool pool)
{
    public async Task<int> SizeAsync()
    {
        await using var own = ConnectionPool.Create("Host=localhost");
        return own.GetSnapshot().MaxSize + pool.GetSnapshot().MaxSize;
    }
}
