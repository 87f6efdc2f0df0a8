using System.Runtime.CompilerServices;
using SafePool.Logging;
using SafePool.Options;
using SafePool.Time;

namespace SafePool.TestKit;

/// <summary>A pool over a <see cref="ScriptedConnectionSource"/> and a clock that stands still, with all that a test needs to steer it.</summary>
internal sealed class ScriptedPool : IAsyncDisposable
{
    // So that a lease which a test holds to its end only by not returning it is not taken for lost.
    private readonly List<Lease[]> _held = [];

    private ScriptedPool(PoolSettings settings, Func<TimeProvider, TimeProvider>? watch)
    {
        ScriptedConnectionSource? source = null;
        Pool = new ConnectionPool(
            settings,
            Log,
            watch?.Invoke(Clock) ?? Clock,
            physicals => source = new ScriptedConnectionSource(physicals) { PhysicalConnectionOpened = settings.PhysicalConnectionOpened });
        Source = source!;
    }

    public ConnectionPool Pool { get; }

    public ScriptedConnectionSource Source { get; }

    public ManualTimeProvider Clock { get; } = new();

    public LogCollector Log { get; } = new();

    public PoolSnapshot Snapshot => Pool.GetSnapshot();

    /// <param name="configure">Changes the defaults.</param>
    /// <param name="watch">Puts something between the pool and the clock.</param>
    public static ScriptedPool Create(
        Action<ConnectionPoolOptions>? configure = null, Func<TimeProvider, TimeProvider>? watch = null)
    {
        // One mechanism at a time: the watch takes a connection of its own accord, and says something over it.
        var options = new ConnectionPoolOptions { ConnectionString = "Host=scripted;Database=orders;Username=app", WatchServer = false };
        configure?.Invoke(options);
        return new ScriptedPool(ConnectionPoolOptionsValidator.Settle(options), watch);
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

    /// <summary>The same for a rent that tells a refusal as a result.</summary>
    public Task<RentOutcome> BeginTryRent(RentOptions? options = null) => Pool.TryRentAsync(options).AsTask();

    /// <summary>Rents several connections, one after the other, and keeps them from being collected.</summary>
    public async Task<Lease[]> RentManyAsync(int count)
    {
        var leases = await RentEachAsync(count);
        _held.Add(leases);
        return leases;
    }

    /// <summary>Leaves this many connections idle.</summary>
    public async Task FillAsync(int count)
    {
        foreach (var lease in await RentEachAsync(count))
        {
            await lease.DisposeAsync();
        }
    }

    /// <summary>Waits until the pool's own threads have brought something about.</summary>
    public async Task UntilAsync(Func<PoolSnapshot, bool> condition, [CallerArgumentExpression(nameof(condition))] string what = "")
    {
        try
        {
            await Eventually.True(() => condition(Snapshot), what);
        }
        catch (TimeoutException inVain)
        {
            throw new TimeoutException($"{inVain.Message} The pool: {Snapshot}", inVain);
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

    private async Task<Lease[]> RentEachAsync(int count)
    {
        var leases = new Lease[count];
        for (var i = 0; i < count; i++)
        {
            leases[i] = await Pool.RentAsync();
        }

        return leases;
    }
}
