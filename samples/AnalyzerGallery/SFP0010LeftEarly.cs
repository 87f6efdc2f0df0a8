namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0010: docs/rules/SFP0010.md.</summary>
public class SFP0010LeftEarly(IConnectionPool pool)
{
    public async Task<bool> ContainsAsync(int id, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await using var command = lease.CreateCommand("SELECT id FROM orders");
        await using var reader = await command.ExecuteReaderAsync(cancellationToken);
        while (await reader.ReadAsync(cancellationToken))
        {
            if (reader.GetInt32(0) == id)
            {
                return true;
            }
        }

        return false;
    }
}
