using System.Data;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;

namespace SafePool.EntityFrameworkCore;

/// <summary>Lets a command follow its context to the connection that was opened in place of an object which could not be (<see cref="LeaseInterceptor"/>).</summary>
/// <remarks>EF Core makes commands that are no queries before it opens, with the object of then.</remarks>
internal sealed class MovedCommandInterceptor(PoolSource source) : DbCommandInterceptor
{
    public override InterceptionResult<int> NonQueryExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<int> result)
    {
        Follow(command, eventData.Context);
        return result;
    }

    public override ValueTask<InterceptionResult<int>> NonQueryExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<int> result, CancellationToken cancellationToken = default)
    {
        Follow(command, eventData.Context);
        return new ValueTask<InterceptionResult<int>>(result);
    }

    public override InterceptionResult<object> ScalarExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<object> result)
    {
        Follow(command, eventData.Context);
        return result;
    }

    public override ValueTask<InterceptionResult<object>> ScalarExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<object> result, CancellationToken cancellationToken = default)
    {
        Follow(command, eventData.Context);
        return new ValueTask<InterceptionResult<object>>(result);
    }

    public override InterceptionResult<DbDataReader> ReaderExecuting(DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result)
    {
        Follow(command, eventData.Context);
        return result;
    }

    public override ValueTask<InterceptionResult<DbDataReader>> ReaderExecutingAsync(
        DbCommand command, CommandEventData eventData, InterceptionResult<DbDataReader> result, CancellationToken cancellationToken = default)
    {
        Follow(command, eventData.Context);
        return new ValueTask<InterceptionResult<DbDataReader>>(result);
    }

    private void Follow(DbCommand command, DbContext? context)
    {
        if (context is not null
            && command.Connection is NpgsqlConnection { State: ConnectionState.Closed } left
            && source.Pool.Governed.Owns(left)
            && context.Database.GetDbConnection() is NpgsqlConnection { State: ConnectionState.Open } present)
        {
            command.Connection = present;
        }
    }
}
