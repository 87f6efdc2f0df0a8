using Npgsql;

namespace SafePool.Samples.AnalyzerGallery;

/// <summary>Shows SFP0002: docs/rules/SFP0002.md.</summary>
public class SFP0002Lent(IConnectionPool pool)
{
    public NpgsqlConnection Connection()
    {
        using var lease = pool.Rent();
        return lease.Connection;
    }
}
