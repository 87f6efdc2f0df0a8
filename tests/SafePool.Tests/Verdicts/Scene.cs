using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>The pool 'orders' on a real server, in real time, and a service that runs it dry.</summary>
internal sealed class Scene : IAsyncDisposable
{
    private readonly PoolOnServer _server;
    private readonly List<Task> _running = [];

    private Scene(PoolOnServer server)
    {
        _server = server;
        Service = new OrderService(server.Pool);
    }

    public OrderService Service { get; }

    public ConnectionPool Pool => _server.Pool;

    public PoolSnapshot Snapshot => _server.Snapshot;

    public LogCollector Logs => _server.Logs;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    public static async Task<Scene> CreateAsync(
        int maxSize, Action<ConnectionPoolOptions>? options = null, TimeProvider? clock = null, string? server = null, TcpProxy? proxy = null)
        => new(await PoolOnServer.CreateAsync(
            settings =>
            {
                (settings.Name, settings.MaxSize, settings.AcquireTimeout) = ("orders", maxSize, TimeSpan.FromSeconds(60));
                options?.Invoke(settings);
            },
            clock: clock,
            server: server,
            proxy: proxy));

    /// <summary>Sets scripts going that do not end by themselves.</summary>
    public void Start(int times, Func<OrderService, Task> script)
        => _running.AddRange(Enumerable.Range(0, times).Select(_ => script(Service)));

    /// <summary>Lets scripts run to their end, all at once.</summary>
    public Task RunAsync(int times, Func<OrderService, Task> script) => Task.WhenAll(Enumerable.Range(0, times).Select(_ => script(Service)));

    /// <summary>Waits until so many leases are out that do as described.</summary>
    public Task HeldAsync(int leases, Func<LeaseHolder, bool>? doing = null)
        => Eventually.True(() => Snapshot.Holders.Count(doing ?? (_ => true)) == leases, $"{leases} leases are held as the script says");

    /// <summary>A command has been seen running at one look at least.</summary>
    public Task BusyAsync(int leases) => HeldAsync(leases, holder => holder.BusyFor > TimeSpan.Zero);

    /// <summary>Somebody waits, so the server is asked; it has answered about so many leases.</summary>
    public async Task AskedAsync(int leases)
    {
        Start(1, service => service.CountAsync());
        await HeldAsync(leases, holder => holder.Backend is not null);
    }

    /// <summary>What a rent with the pool's own patience fails with.</summary>
    public Task<PoolException> FailAsync() => FailureAsync(Pool.RentAsync(Cancellation).AsTask());

    /// <summary>What a request fails with that gets no lease.</summary>
    public static async Task<PoolException> FailureAsync(Task request)
        => Assert.IsType<PoolException>(await Record.ExceptionAsync(() => request), exactMatch: false);

    /// <summary>A rent that gets no lease, by default within 1.5 s.</summary>
    public Task<T> FailAsync<T>(TimeSpan? patience = null)
        where T : Exception
        => Assert.ThrowsAsync<T>(async () => await Pool.RentAsync(new RentOptions { AcquireTimeout = patience ?? TimeSpan.FromSeconds(1.5) }, Cancellation));

    public async ValueTask DisposeAsync()
    {
        await Service.DisposeAsync();
        foreach (var script in _running)
        {
            try
            {
                await script;
            }
            catch (Exception error) when (error is OperationCanceledException or PoolException or NpgsqlException)
            {
                // It was ended, or failed as the test wanted.
            }
        }

        await _server.DisposeAsync();
    }
}
