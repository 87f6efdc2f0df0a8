namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0009: docs/rules/SFP0009.md.</summary>
public class SFP0009Impatient(IConnectionPool pool)
{
    public async Task<Lease> RentAsync(CancellationToken cancellationToken)
    {
        while (true)
        {
            try
            {
                return await pool.RentAsync(cancellationToken);
            }
            catch (PoolExhaustedException)
            {
                // Once more, at once.
            }
        }
    }
}
