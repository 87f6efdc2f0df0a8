using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Verdicts;

/// <summary>Why a pool ran dry, as a script, and what its verdict must be.</summary>
/// <param name="Name">In words, as the page has it.</param>
/// <param name="Verdict">Of the rent that fails.</param>
/// <param name="Says">What its message must say besides: whose fault it is.</param>
/// <param name="FailAsync">Runs the pool dry and returns what a rent fails with.</param>
internal sealed record Cause(string Name, PoolVerdict Verdict, string Says, Func<Task<PoolException>> FailAsync);

/// <summary>The causes of the matrix in docs/verdicts.md.</summary>
internal static partial class VerdictMatrix
{
    private static readonly TimeSpan _threshold = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan _patient = TimeSpan.FromSeconds(60);

    private const string Web = "QuoteAsync";
    private const string Lost = "LoadAsync";
    private const string Query = "ReportAsync";
    private const string Outer = "ShipAsync";

    public static IReadOnlyList<Cause> Causes { get; } =
    [
        // Leases that nobody returns.
        new("One lease is forgotten, of one", PoolVerdict.Leak, Lost, () => OfScriptsAsync(1, Leaky, (1, Lost))),
        new("All leases are forgotten", PoolVerdict.Leak, Lost, () => OfScriptsAsync(4, Leaky, (4, Lost))),
        new("All are forgotten, and the server is asked", PoolVerdict.Leak, "have run no command", () => OfScriptsAsync(2, Asking, (2, Lost))),
        new("Connections of `OpenConnectionAsync` are forgotten", PoolVerdict.Leak, "RefreshAsync", () => OfScriptsAsync(2, Leaky, (2, "RefreshAsync"))),
        new("A lease is forgotten in a transaction", PoolVerdict.Leak, "idle in a transaction", () => OfScriptsAsync(1, Leaky, (1, "ForgetInTransactionAsync"))),
        new("Leases are forgotten and the queue is full as well", PoolVerdict.Leak, Lost, RejectedAsync),

        // Something that needs no connection.
        new("An HTTP call while a lease is held", PoolVerdict.IdleHolders, Web, () => OfScriptsAsync(3, Plain, (3, Web))),
        new("An HTTP call within a transaction", PoolVerdict.IdleHolders, "all idle in a transaction", () => OfScriptsAsync(2, Plain, (2, "BookAsync"))),
        new("An HTTP call after `BEGIN`, and the server is asked", PoolVerdict.IdleHolders, "all idle in a transaction", () => OfScriptsAsync(2, options => options.Leaks.InspectBackends = true, (2, "BookBySqlAsync"))),
        new("An HTTP call after `BEGIN`, and it is not asked", PoolVerdict.IdleHolders, "BookBySqlAsync", () => OfScriptsAsync(2, Plain, (2, "BookBySqlAsync"))),
        new("A computation", PoolVerdict.IdleHolders, "ComputeAsync", () => OfScriptsAsync(2, Plain, (2, "ComputeAsync"))),
        new("A lock of the process's own", PoolVerdict.IdleHolders, "LockAsync", () => OfScriptsAsync(2, Plain, (2, "LockAsync"))),

        // What runs on the connection.
        new("A slow query", PoolVerdict.SlowQueries, Query, () => OfScriptsAsync(3, Plain, (3, Query))),
        new("A slow query, and the server is asked", PoolVerdict.SlowQueries, Query, () => OfScriptsAsync(2, options => options.Leaks.InspectBackends = true, (2, Query))),
        new("A reader that is read slowly", PoolVerdict.SlowQueries, "with an open reader", () => OfScriptsAsync(2, Plain, (2, "StreamAsync"))),
        new("A COPY that is fed slowly", PoolVerdict.SlowQueries, "ImportAsync", () => OfScriptsAsync(2, Plain, (2, "ImportAsync"))),
        new("A lock on the server, which is asked", PoolVerdict.SlowQueries, "waiting for Lock: advisory", () => OfScriptsAsync(3, options => options.Leaks.InspectBackends = true, (3, "HoardAsync"))),
        new("A lock on the server, which is not asked", PoolVerdict.SlowQueries, "HoardAsync", () => OfScriptsAsync(3, Plain, (3, "HoardAsync"))),

        // Nothing is wrong with the holders.
        new("More queries than the pool can do", PoolVerdict.Undersized, "of 2 connections busy", () => OfFlowsAsync(60, 0.1)),
        new("Many short commands in each lease, and the server is asked", PoolVerdict.Undersized, "one short command after the other", PollAsync),
        new("A wait of 50 ms for one lease of 60 ms", PoolVerdict.Undersized, "too little to say more: the longest lease", () => OfBriefHoldAsync(TimeSpan.FromMilliseconds(50))),
        new("A wait of 300 ms for a lease that is not quiet for long enough", PoolVerdict.Undersized, "too little to say more: the longest lease", () => OfScriptsAsync(1, options => options.AcquireTimeout = TimeSpan.FromMilliseconds(300), (1, Lost))),

        // Those who hold wait themselves.
        new("A second rent within the first, and flows are followed", PoolVerdict.NestedRents, "(AuditAsync)", () => NestAsync(NestedRentPolicy.Warn, held: 3)),
        new("The same, and one of the holders calls the web", PoolVerdict.NestedRents, "(AuditAsync)", () => NestAsync(NestedRentPolicy.Warn, held: 2, (1, Web))),
        new("Slow queries of one request, more than the pool has places, and traces are there", PoolVerdict.SlowQueries, Query, OfOneRequestAsync),
        new("Leases handed to workers that use them and then call the web, and flows are followed", PoolVerdict.IdleHolders, nameof(HandOnAsync), HandOnAsync),
        new("A second rent, and neither flows nor traces are there", PoolVerdict.IdleHolders, Outer, () => NestAsync(NestedRentPolicy.Off, held: 2)),

        // The way to the server, and the server.
        new("A connect that takes a minute", PoolVerdict.SlowConnects, "has been opening", SlowConnectAsync),
        new("Nobody listens", PoolVerdict.ServerUnreachable, "The last open failed", NobodyListensAsync),
        new("The server accepts and says nothing", PoolVerdict.ServerUnreachable, "The last open failed", SilentServerAsync),
        new("Commands get no answer, and the server is asked", PoolVerdict.ServerUnreachable, "have had no answer", () => NoAnswerAsync(isAsked: true)),
        new("Commands get no answer, and it is not asked", PoolVerdict.SlowQueries, Query, () => NoAnswerAsync(isAsked: false)),
        new("`DISCARD ALL` of leases that were returned gets no answer", PoolVerdict.ServerUnreachable, "on their way back", () => OfReturnsAsync(isInTransaction: false)),
        new("`ROLLBACK` of leases that were returned gets no answer", PoolVerdict.ServerUnreachable, "on their way back", () => OfReturnsAsync(isInTransaction: true)),
        new("The server is full, and the pool has none", PoolVerdict.ServerFull, "53300", () => OfFullServerAsync(room: 0, options => options.Breaker.TripAfter = _patient)),
        new("The server is full, and the pool has one", PoolVerdict.ServerFull, "while the pool has 1 of 4", () => OfFullServerAsync(room: 1, Plain, (1, Web))),
        new("The role has a limit", PoolVerdict.ServerFull, "too many connections for role", RoleLimitAsync),

        // The hooks.
        new("`LeaseRented` hangs", PoolVerdict.IdleHolders, "The hook LeaseRented", () => OfHookAsync((options, hook) => options.LeaseRented = hook, isReturned: false)),
        new("`LeaseReturning` hangs", PoolVerdict.IdleHolders, "The hook LeaseReturning", () => OfHookAsync((options, hook) => options.LeaseReturning = hook, isReturned: true)),
        new("`LeaseRented` takes 400 ms, and the work 5 ms", PoolVerdict.IdleHolders, "The hook LeaseRented", () => OfSlowHookAsync((options, hook) => options.LeaseRented = hook)),
        new("`LeaseReturning` takes 400 ms, and the work 5 ms", PoolVerdict.IdleHolders, "The hook LeaseReturning", () => OfSlowHookAsync((options, hook) => options.LeaseReturning = hook)),
        new("`PhysicalConnectionOpened` hangs", PoolVerdict.SlowConnects, "The hook PhysicalConnectionOpened", () => OfHookAsync((options, hook) => options.PhysicalConnectionOpened = hook, isReturned: false)),
        new("`LeaseRented` rents from its own pool", PoolVerdict.NestedRents, "The hook LeaseRented", () => OfRentingHookAsync((options, hook) => options.LeaseRented = hook)),
        new("`PhysicalConnectionOpened` rents from its own pool", PoolVerdict.SlowConnects, "The hook PhysicalConnectionOpened", () => OfRentingHookAsync((options, hook) => options.PhysicalConnectionOpened = hook)),

        // Two causes, which are close.
        new("Three leaks and two slow queries", PoolVerdict.Leak, "Besides, slow queries", () => OfScriptsAsync(5, Leaky, (2, Query), (3, Lost))),
        new("Two leaks and three slow queries", PoolVerdict.SlowQueries, "Besides, leak", () => OfScriptsAsync(5, Leaky, (3, Query), (2, Lost))),
        new("As many leaks as HTTP calls", PoolVerdict.Leak, "Besides, idle holders", () => OfScriptsAsync(4, options => options.Leaks.Threshold = _threshold, (2, "BookAsync"), (2, Lost))),
        new("As many HTTP calls as slow queries", PoolVerdict.IdleHolders, "Besides, slow queries", () => OfScriptsAsync(4, Plain, (2, Web), (2, Query))),
        new("Two slow queries and one HTTP call", PoolVerdict.SlowQueries, "Besides, idle holders", () => OfScriptsAsync(3, Plain, (2, Query), (1, Web))),
        new("Two leaks on a server without room for the other four", PoolVerdict.ServerFull, "Besides, leak", () => OfFullServerAsync(room: 2, Leaky, size: 6, scripts: (2, Lost))),
        new("Two slow queries on a server without room for the third", PoolVerdict.SlowQueries, "Besides, server full", () => OfFullServerAsync(room: 2, Plain, size: 3, scripts: (2, Query))),
    ];

    private static void Plain(ConnectionPoolOptions options)
    {
    }

    private static void Leaky(ConnectionPoolOptions options) => options.Leaks.Threshold = _threshold;

    private static void Asking(ConnectionPoolOptions options) => (options.Leaks.Threshold, options.Leaks.InspectBackends) = (_threshold, true);

    private static Task StartAsync(OrderService service, string script) => script switch
    {
        Lost => service.LoadAsync(),
        "RefreshAsync" => service.RefreshAsync(),
        "ForgetInTransactionAsync" => service.ForgetInTransactionAsync(),
        Web => service.QuoteAsync(),
        "BookAsync" => service.BookAsync(),
        "BookBySqlAsync" => service.BookBySqlAsync(),
        "ComputeAsync" => service.ComputeAsync(),
        "LockAsync" => service.LockAsync(),
        Query => service.ReportAsync(),
        "StreamAsync" => service.StreamAsync(),
        "ImportAsync" => service.ImportAsync(),
        "HoardAsync" => service.HoardAsync(),
        _ => throw new ArgumentOutOfRangeException(nameof(script), script, null),
    };

    /// <summary>Scripts that hold all leases, and a rent of the pool's own patience.</summary>
    private static async Task<PoolException> OfScriptsAsync(int size, Action<ConnectionPoolOptions> configure, params (int Times, string Name)[] scripts)
    {
        await using var scene = await SceneAsync(size, configure);
        await HoldAsync(scene, scripts);
        return await scene.FailAsync();
    }

    private static Task<Scene> SceneAsync(int size, Action<ConnectionPoolOptions> configure, string? server = null, TcpProxy? proxy = null)
        => Scene.CreateAsync(
            size,
            options =>
            {
                options.AcquireTimeout = TimeSpan.FromSeconds(2);
                configure(options);
            },
            server: server,
            proxy: proxy);

    private static async Task HoldAsync(Scene scene, params (int Times, string Name)[] scripts)
    {
        foreach (var (times, name) in scripts)
        {
            scene.Start(times, service => StartAsync(service, name));
        }

        await scene.HeldAsync(scripts.Sum(script => script.Times), holder => holder.BackendProcessId is not null);
    }

    private static async Task<PoolException> RejectedAsync()
    {
        await using var scene = await SceneAsync(2, options => (options.Leaks.Threshold, options.MaxWaiters) = (TimeSpan.FromMilliseconds(500), 1));
        await HoldAsync(scene, (2, Lost));
        scene.Start(1, service => service.CountAsync());
        await Eventually.True(() => scene.Snapshot.Holders.All(holder => holder.QuietFor > TimeSpan.FromMilliseconds(500)), "they are overdue");
        return await scene.FailAsync();
    }

    private static async Task<PoolException> OfFlowsAsync(int flows, double seconds)
    {
        await using var scene = await SceneAsync(2, Plain);
        scene.Start(flows, async service =>
        {
            while (true)
            {
                await service.CountAsync(seconds);
            }
        });
        await Eventually.True(() => scene.Snapshot.Waiting > flows / 2, "they are at it");
        return await scene.FailAsync();
    }

    private static async Task<PoolException> PollAsync()
    {
        await using var scene = await SceneAsync(2, options => (options.Leaks.InspectBackends, options.AcquireTimeout) = (true, TimeSpan.FromSeconds(3)));
        scene.Start(2, service => service.PollAsync());
        await scene.HeldAsync(2);
        return await scene.FailAsync();
    }

    private static async Task<PoolException> OfBriefHoldAsync(TimeSpan patience)
    {
        await using var scene = await SceneAsync(1, options => options.AcquireTimeout = patience);
        await using var brief = await scene.Service.RentPatientlyAsync();
        return await scene.FailAsync();
    }

    private static async Task<PoolException> NestAsync(NestedRentPolicy policy, int held, params (int Times, string Name)[] others)
    {
        await using var scene = await SceneAsync(held + others.Sum(other => other.Times), options => options.Leaks.NestedRents = policy);
        await HoldAsync(scene, others);
        var ships = Enumerable.Range(0, held).Select(number => scene.Service.ShipAsync(number == 0 ? TimeSpan.FromSeconds(2) : _patient)).ToArray();
        await scene.HeldAsync(scene.Snapshot.MaxSize, holder => holder.BackendProcessId is not null);
        scene.Service.LetAudit();

        // Of a deadlock any of them.
        await Task.WhenAll(ships).ContinueWith(static _ => { }, TaskScheduler.Default);
        return await Scene.FailureAsync(ships.First(ship => ship.IsFaulted));
    }

    private static async Task<PoolException> SlowConnectAsync()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var scene = await SceneAsync(4, options => options.ConnectTimeout = _patient, proxy: proxy);
        proxy.AcceptDelay = _patient;
        return await scene.FailAsync();
    }

    private static async Task<PoolException> NobodyListensAsync()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.RefuseNew = true;
        await using var scene = await SceneAsync(3, options => options.Breaker.TripAfter = _patient, proxy: proxy);
        return await scene.FailAsync();
    }

    private static async Task<PoolException> SilentServerAsync()
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        proxy.SilenceNew = true;
        await using var scene = await SceneAsync(
            3, options => (options.ConnectTimeout, options.AcquireTimeout, options.Breaker.TripAfter) = (TimeSpan.FromSeconds(1), TimeSpan.FromSeconds(3), _patient), proxy: proxy);
        return await scene.FailAsync();
    }

    private static async Task<PoolException> NoAnswerAsync(bool isAsked)
    {
        await using var proxy = TcpProxy.Start(await Outside.SharedServerAsync());
        await using var scene = await SceneAsync(2, options => (options.Leaks.InspectBackends, options.AcquireTimeout) = (isAsked, TimeSpan.FromSeconds(5)), proxy: proxy);
        await HoldAsync(scene, (2, Query));
        await scene.BusyAsync(2);
        proxy.Stall();
        try
        {
            return await scene.FailAsync();
        }
        finally
        {
            proxy.ResetAll();
            proxy.Resume();
        }
    }

    private static async Task<PoolException> OfFullServerAsync(int room, Action<ConnectionPoolOptions> configure, (int Times, string Name) scripts = default, int size = 4)
    {
        await using var full = await FullServer.StartAsync(room);
        await using var scene = await SceneAsync(size, configure, server: full.ConnectionString);
        if (scripts.Times > 0)
        {
            await HoldAsync(scene, scripts);
        }

        return await scene.FailAsync();
    }

    private static async Task<PoolException> RoleLimitAsync()
    {
        await using var server = await PostgresServer.StartAsync();
        await new Outside(server.ConnectionString).DoAsync("CREATE ROLE narrow LOGIN CONNECTION LIMIT 1");
        var text = new NpgsqlConnectionStringBuilder(server.ConnectionString) { Username = "narrow" }.ConnectionString;
        await using var scene = await SceneAsync(3, Plain, server: text);
        await HoldAsync(scene, (1, Web));
        return await scene.FailAsync();
    }

    /// <summary>A hook that does not end before the scene does, at the first lease.</summary>
    private static async Task<PoolException> OfHookAsync(
        Action<ConnectionPoolOptions, Func<NpgsqlConnection, CancellationToken, ValueTask>> install, bool isReturned)
    {
        var over = new TaskCompletionSource();
        var calls = 0;
        await using var scene = await SceneAsync(1, options =>
        {
            (options.ConnectTimeout, options.AcquireTimeout) = (_patient, TimeSpan.FromSeconds(1.5));
            install(options, async (_, _) => await (Interlocked.Increment(ref calls) == 1 ? over.Task : Task.CompletedTask));
        });
        scene.Start(1, async service =>
        {
            await using var lease = await service.RentPatientlyAsync();
        });
        try
        {
            await Eventually.True(() => Volatile.Read(ref calls) == 1, $"the hook is called{(isReturned ? " when the lease comes back" : "")}");
            return await scene.FailAsync();
        }
        finally
        {
            over.SetResult();
        }
    }

    private static async Task<PoolException> OfRentingHookAsync(Action<ConnectionPoolOptions, Func<NpgsqlConnection, CancellationToken, ValueTask>> install)
    {
        ConnectionPool? pool = null;
        var isWithin = new TaskCompletionSource();
        await using var scene = await SceneAsync(1, options =>
        {
            (options.ConnectTimeout, options.AcquireTimeout) = (_patient, TimeSpan.FromSeconds(1.5));
            install(options, async (_, _) =>
            {
                if (isWithin.TrySetResult())
                {
                    await using var inner = await pool!.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromSeconds(5) });
                }
            });
        });
        pool = scene.Pool;
        scene.Start(1, async service =>
        {
            await using var lease = await service.RentPatientlyAsync();
        });
        await isWithin.Task;
        return await scene.FailAsync();
    }
}
