using SafePool.Maintenance;
using SafePool.Options;

namespace SafePool.TestKit;

/// <summary>A pool over a <see cref="ScriptedConnectionSource"/> and a clock that stands still, with all that a test needs to steer it.</summary>
internal sealed class ScriptedPool : IAsyncDisposable
{
    private ScriptedPool(PoolSettings settings)
    {
        ScriptedConnectionSource? source = null;
        Pool = new ConnectionPool(
            settings,
            Log,
            Clock,
            physicals => source = new ScriptedConnectionSource(physicals) { PhysicalConnectionOpened = settings.PhysicalConnectionOpened });
        Source = source!;
    }

    public ConnectionPool Pool { get; }

    public ScriptedConnectionSource Source { get; }

    public ManualTimeProvider Clock { get; } = new();

    public LogCollector Log { get; } = new();

    public PoolSnapshot Snapshot => Pool.GetSnapshot();

    public static ScriptedPool Create(Action<ConnectionPoolOptions>? configure = null)
    {
        var options = new ConnectionPoolOptions { ConnectionString = "Host=scripted;Database=orders;Username=app" };
        configure?.Invoke(options);
        return new ScriptedPool(ConnectionPoolOptionsValidator.Settle(options));
    }

    /// <summary>A pool whose places all have a connection, all of them leased.</summary>
    public static async Task<(ScriptedPool Pool, Lease[] Leases)> CreateFullAsync(int size, Action<ConnectionPoolOptions>? configure = null)
    {
        var pool = Create(options =>
        {
            options.MaxSize = size;
            configure?.Invoke(options);
        });
        return (pool, await pool.RentManyAsync(size));
    }

    /// <summary>Begins a rent. When this returns it has a lease, waits in the queue, or has failed.</summary>
    public Task<Lease> BeginRent(TimeSpan? acquireTimeout = null)
        => acquireTimeout is null
            ? Pool.RentAsync().AsTask()
            : Pool.RentAsync(new RentOptions { AcquireTimeout = acquireTimeout }).AsTask();

    /// <summary>Rents several connections, one after the other.</summary>
    public async Task<Lease[]> RentManyAsync(int count)
    {
        var leases = new Lease[count];
        for (var i = 0; i < count; i++)
        {
            leases[i] = await Pool.RentAsync();
        }

        return leases;
    }

    /// <summary>Leaves this many connections idle.</summary>
    public async Task FillAsync(int count)
    {
        foreach (var lease in await RentManyAsync(count))
        {
            await lease.DisposeAsync();
        }
    }

    /// <summary>Lets maintenance run this often.</summary>
    public void Tick(int times = 1)
    {
        for (var i = 0; i < times; i++)
        {
            Clock.Advance(MaintenanceLoop.Period);
        }
    }

    public ValueTask DisposeAsync() => Pool.DisposeAsync();
}
