namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0005: docs/rules/SFP0005.md.</summary>
public class SFP0005Held(IConnectionPool pool)
{
    public async Task ChargeAsync(HttpClient payments, CancellationToken cancellationToken)
    {
        await using var lease = await pool.RentAsync(cancellationToken);
        await payments.PostAsync("https://payments.example/charge", content: null, cancellationToken);
    }
}
