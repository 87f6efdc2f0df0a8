using Npgsql;

namespace SafePool.Driver;

/// <summary>An open connection beside the pool, with a data source of its own; both end with it.</summary>
internal sealed class UnpooledConnection : IAsyncDisposable
{
    private readonly NpgsqlDataSource _server;

    private UnpooledConnection(NpgsqlDataSource server, NpgsqlConnection connection) => (_server, Connection) = (server, connection);

    public NpgsqlConnection Connection { get; }

    /// <param name="build">Makes a data source without a pool; it calls the user, as its open does, so both are bounded.</param>
    /// <param name="time">The clock.</param>
    /// <param name="cancellationToken">Gives up.</param>
    public static Task<UnpooledConnection> OpenAsync(Func<NpgsqlDataSource> build, TimeProvider time, CancellationToken cancellationToken)
        => Stragglers.OpenAsync(() => OpenAsync(build, cancellationToken), time, cancellationToken);

    /// <summary>The same for a caller who blocks.</summary>
    /// <param name="build">Makes a data source without a pool.</param>
    /// <param name="bound">How long it may take, in real time.</param>
    public static UnpooledConnection Open(Func<NpgsqlDataSource> build, TimeSpan bound) => Stragglers.Open(() => Open(build), bound);

    public async ValueTask DisposeAsync()
    {
        await Connection.DisposeAsync().ConfigureAwait(false);
        await _server.DisposeAsync().ConfigureAwait(false);
    }

    private static UnpooledConnection Open(Func<NpgsqlDataSource> build)
    {
        var server = build();
        try
        {
            return new UnpooledConnection(server, server.OpenConnection());
        }
        catch
        {
            server.Dispose();
            throw;
        }
    }

    private static async Task<UnpooledConnection> OpenAsync(Func<NpgsqlDataSource> build, CancellationToken cancellationToken)
    {
        var server = build();
        try
        {
            return new UnpooledConnection(server, await server.OpenConnectionAsync(cancellationToken).ConfigureAwait(false));
        }
        catch
        {
            await server.DisposeAsync().ConfigureAwait(false);
            throw;
        }
    }
}
