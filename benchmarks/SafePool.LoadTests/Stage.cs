using Npgsql;
using SafePool.TestKit;

namespace SafePool.LoadTests;

/// <summary>Where one contender runs: the servers, and a proxy of its own before each.</summary>
internal sealed class Stage : IAsyncDisposable
{
    private readonly IAsyncDisposable? _owned;

    private Stage(PostgresServer server, PostgresServer? standby, IAsyncDisposable? owned)
    {
        _owned = owned;
        Server = server;
        Standby = standby;
        Proxies = [.. new[] { server, standby }.OfType<PostgresServer>().Select(one => TcpProxy.Start(one.ConnectionString))];
    }

    /// <summary>Gets the only server, or the one that begins as the primary.</summary>
    public PostgresServer Server { get; }

    public PostgresServer? Standby { get; }

    public IReadOnlyList<TcpProxy> Proxies { get; }

    /// <summary>Gets what every contender's connection string says.</summary>
    public NpgsqlConnectionStringBuilder ConnectionString => new(Address)
    {
        // Without encryption the first bytes of a connection tell whether it is a cancel request.
        SslMode = SslMode.Disable,
        GssEncryptionMode = GssEncryptionMode.Disable,
        MaxPoolSize = Workload.Places,
        CommandTimeout = (int)Workload.CommandBudget.TotalSeconds,
        ApplicationName = "load",
    };

    private string Address
        => Standby is null
            ? Proxies[0].ConnectionString(Server.ConnectionString)
            : $"{ReplicatedPair.Over(Proxies[0].Port, Proxies[1].Port)};Target Session Attributes=primary";

    /// <summary>Before a server that others use before and after.</summary>
    public static Stage Of(PostgresServer server) => new(server, standby: null, owned: null);

    /// <summary>Before a pair of its own: what has been promoted is used up.</summary>
    public static async Task<Stage> OfPairAsync()
    {
        var pair = await ReplicatedPair.StartAsync();
        return new Stage(pair.Primary, pair.Standby, pair);
    }

    /// <summary>When somebody asked for a session, at any of the servers, in order.</summary>
    public long[] ConnectionAttempts() => [.. Proxies.SelectMany(proxy => proxy.OpenedAt).Order()];

    public async ValueTask DisposeAsync()
    {
        foreach (var proxy in Proxies)
        {
            await proxy.DisposeAsync();
        }

        await (_owned?.DisposeAsync() ?? ValueTask.CompletedTask);
    }
}
