using System.Data.Common;
using Microsoft.EntityFrameworkCore.Diagnostics;

namespace SafePool.EntityFrameworkCore;

/// <summary>Clears the pool before EF Core drops its database (<c>EnsureDeleted</c>), which ends every session that is connected to it.</summary>
/// <remarks>EF Core does that itself for an <see cref="Npgsql.NpgsqlDataSource"/>, which <see cref="PoolDataSource"/> is not.</remarks>
internal sealed class DropInterceptor(PoolSource source) : DbCommandInterceptor
{
    public override InterceptionResult<int> NonQueryExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<int> result)
    {
        if (eventData.CommandSource == CommandSource.Migrations && command.CommandText.StartsWith("DROP DATABASE", StringComparison.Ordinal))
        {
            source.Pool.Clear();
        }

        return result;
    }

    public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
        => new(NonQueryExecuting(command, eventData, result));
}
