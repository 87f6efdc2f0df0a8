namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0001: docs/rules/SFP0001.md.</summary>
public class SFP0001Forgotten(IConnectionPool pool)
{
    public async Task<object?> CountAsync(CancellationToken cancellationToken)
    {
        var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT count(*) FROM orders");
        return await command.ExecuteScalarAsync(cancellationToken);
    }
}
