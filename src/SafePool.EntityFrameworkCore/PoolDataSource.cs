using System.Data.Common;
using SafePool.Reports;

namespace SafePool.EntityFrameworkCore;

/// <summary>What EF Core makes the connections of its contexts from: each a closed one that the pool governs.</summary>
/// <remarks>No <see cref="Npgsql.NpgsqlDataSource"/> of the pool is handed to EF Core, because behind a pooler the pool may go over to another one.</remarks>
internal sealed class PoolDataSource(PoolSource source) : DbDataSource
{
    private readonly Func<RentSite> _site = () => UserCode.Find(source.Pool);

    /// <summary>What the pool was given, without the password. EF Core looks for settings in it (<c>Enlist</c>), and makes connections to other databases of the server with it.</summary>
    public override string ConnectionString => source.Pool.Governed.Parts.Settings.PublicText;

    protected override DbConnection CreateDbConnection() => source.Pool.Governed.Create(_site);
}
