using System.Data;
using System.Data.Common;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Diagnostics;
using Npgsql;
using SafePool.Time;

namespace SafePool.EntityFrameworkCore;

/// <summary>Opens the connections of a context as leases of one pool. Every connection that is not the pool's is left to EF Core.</summary>
/// <remarks>
/// An open that another interceptor has suppressed is left alone. What the context closes, disposes, or loses is not seen to here: the connection returns its lease itself.
/// </remarks>
internal sealed class LeaseInterceptor(PoolSource source) : DbConnectionInterceptor
{
    public override DbConnection ConnectionCreated(ConnectionCreatedEventData eventData, DbConnection result)
    {
        if (result is NpgsqlConnection connection)
        {
            Entrust(connection, eventData.Context);
        }

        return result;
    }

    public override InterceptionResult ConnectionOpening(DbConnection connection, ConnectionEventData eventData, InterceptionResult result)
    {
        if (Governs(connection, result) is not { } governed)
        {
            return result;
        }

        var opened = Synchronously.Result(source.Pool.Governed.OpenAsync(governed, UserCode.Find(source.Pool), blocking: true, CancellationToken.None));
        Exchange(connection, opened, eventData.Context);
        return InterceptionResult.Suppress();
    }

    public override ValueTask<InterceptionResult> ConnectionOpeningAsync(
        DbConnection connection, ConnectionEventData eventData, InterceptionResult result, CancellationToken cancellationToken = default)
        => Governs(connection, result) is { } governed
            ? OpenAsync(governed, eventData.Context, cancellationToken)
            : new ValueTask<InterceptionResult>(result);

    /// <summary>Another interceptor has thrown once the lease was out: EF Core takes the connection for closed and would not close it.</summary>
    public override void ConnectionFailed(DbConnection connection, ConnectionErrorEventData eventData)
    {
        if (connection is NpgsqlConnection { State: ConnectionState.Open } opened && source.Pool.Governed.Owns(opened))
        {
            opened.Close();
        }
    }

    public override Task ConnectionFailedAsync(DbConnection connection, ConnectionErrorEventData eventData, CancellationToken cancellationToken = default)
        => connection is NpgsqlConnection { State: ConnectionState.Open } opened && source.Pool.Governed.Owns(opened) ? opened.CloseAsync() : Task.CompletedTask;

    private async ValueTask<InterceptionResult> OpenAsync(NpgsqlConnection connection, DbContext? context, CancellationToken cancellationToken)
    {
        // The site is found on the caller's own stack, before the first await.
        var opened = await source.Pool.Governed.OpenAsync(connection, UserCode.Find(source.Pool), blocking: false, cancellationToken).ConfigureAwait(false);
        Exchange(connection, opened, context);
        return InterceptionResult.Suppress();
    }

    private NpgsqlConnection? Governs(DbConnection connection, InterceptionResult result)
        => !result.IsSuppressed && connection is NpgsqlConnection candidate && source.Pool.Governed.Owns(candidate) ? candidate : null;

    private void Entrust(NpgsqlConnection connection, DbContext? context)
    {
        if (context is not null)
        {
            source.Pool.Governed.Entrust(connection, context, ContextLabels.Of(context.GetType()));
        }
    }

    private static void Exchange(DbConnection connection, NpgsqlConnection opened, DbContext? context)
    {
        if (opened != connection)
        {
            context!.Database.SetDbConnection(opened, contextOwnsConnection: true);
        }
    }
}
