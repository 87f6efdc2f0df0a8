using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;

namespace SafePool.Tests.Poolers;

/// <summary>One line of docs/poolers.md: what is tried, and how.</summary>
/// <param name="Name">As the page says it.</param>
/// <param name="TryAsync">Tries it, and says in a few words what came of it.</param>
internal sealed record MatrixRow(string Name, Func<Gateway, Task<string>> TryAsync);

/// <summary>What docs/poolers.md is measured by.</summary>
internal static class PoolerMatrix
{
    private const string Works = "works";
    private const string InForce = "in force";

    private static readonly TimeSpan _timeout = TimeSpan.FromMilliseconds(1234);

    public static IReadOnlyList<MatrixRow> Basics { get; } =
    [
        new("rent, query, return", async gateway =>
        {
            await using var pool = await gateway.PoolAsync();
            for (var round = 0; round < 3; round++)
            {
                await using var lease = await pool.Pool.RentAsync();
                await lease.AskAsync<int>("SELECT 1");
            }

            return pool.Snapshot.TotalOpened == 1 ? Works : $"{pool.Snapshot.TotalOpened} connections";
        }),
        new("blocking rent, query, return", async gateway =>
        {
            await using var pool = await gateway.PoolAsync();
            return await Task.Factory.StartNew(
                () =>
                {
                    using var lease = pool.Pool.Rent();
                    return lease.Ask<int>("SELECT 1") == 1 ? Works : "?";
                },
                CancellationToken.None,
                TaskCreationOptions.LongRunning,
                TaskScheduler.Default);
        }),
        new("`OpenConnectionAsync`", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            for (var round = 0; round < 2; round++)
            {
                await using var connection = await pool.Pool.OpenConnectionAsync();
                await connection.AskAsync<int>("SELECT 1");
            }

            return pool.Snapshot is { Idle: 1, Leased: 0 } ? Works : "?";
        }),
        new("transaction, committed", async gateway =>
        {
            await using var pool = await gateway.PoolAsync();
            await using var lease = await pool.Pool.RentAsync();
            await using (var transaction = await lease.BeginTransactionAsync())
            {
                await lease.DoAsync("CREATE TABLE IF NOT EXISTS kept (n int)");
                await transaction.CommitAsync();
            }

            return await lease.AskAsync<long>("SELECT count(*) FROM kept") == 0 ? Works : "?";
        }),
        new("transaction left open", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using (var lease = await pool.Pool.RentAsync())
            {
                _ = await lease.BeginTransactionAsync();
                await lease.DoAsync("CREATE TABLE never (n int)");
            }

            await using var next = await pool.Pool.RentAsync();
            return await next.AskAsync<bool>("SELECT to_regclass('never') IS NULL") ? "rolled back" : "**kept**";
        }),
        new("a statement prepared twice, by two connections", gateway => PreparedAsync(gateway, automatically: false)),
        new("the same, by Npgsql itself (`Max Auto Prepare`)", gateway => PreparedAsync(gateway, automatically: true)),
        new("cancellation of a command", async gateway =>
        {
            await using var pool = await gateway.PoolAsync();
            await using var lease = await pool.Pool.RentAsync();
            await using var command = lease.CreateCommand("SELECT pg_sleep(60)");
            using var soon = new CancellationTokenSource(TimeSpan.FromMilliseconds(100));
            try
            {
                await command.ExecuteNonQueryAsync(soon.Token);
                return "**ran on**";
            }
            catch (OperationCanceledException)
            {
                return await lease.AskAsync<int>("SELECT 1") == 1 ? Works : "?";
            }
        }),
        new("return while a command runs", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            var lease = await pool.Pool.RentAsync();
            await using var command = lease.CreateCommand("SELECT pg_sleep(60)");
            var running = command.ExecuteNonQueryAsync();
            await lease.DisposeAsync();
            var isCancelled = await Outcome.OfAsync(() => running) != Outcome.Fine;
            await using var next = await pool.Pool.RentAsync();
            return await next.AskAsync<int>("SELECT 1") == 1 && isCancelled ? "cancelled" : "?";
        }),
        new("a lease that was dropped", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromSeconds(2)));
            Drop(pool.Pool);
            await using var next = await pool.Pool.RentAsync();
            await next.DoAsync("SELECT 1");
            return pool.Snapshot.TotalReclaimed == 1 ? "taken back" : "?";
        }),
        new("`Clear`", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 2);
            await pool.Pool.FillAsync(2, default);
            pool.Pool.Clear();
            var closed = pool.Snapshot.TotalClosed;
            await pool.Pool.FillAsync(2, default);
            return (closed, pool.Snapshot.TotalOpened, pool.Snapshot.Idle) == (2, 4, 2) ? Works : "?";
        }),
    ];

    public static IReadOnlyList<MatrixRow> Sessions { get; } =
    [
        new("`SET`, then the next lease", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using (var lease = await pool.Pool.RentAsync())
            {
                await lease.DoAsync("SET work_mem = '7MB'");
            }

            await using var next = await pool.Pool.RentAsync();
            return await SeenAsync(gateway, async () => await next.AskAsync<string>("SHOW work_mem") == "7MB");
        }),
        new("`SET`, then another client, the lease still out", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using var lease = await pool.Pool.RentAsync();
            await lease.DoAsync("SET work_mem = '8MB'");
            await using var stranger = await gateway.StrangerAsync();
            return await SeenAsync(gateway, async () => await stranger.AskAsync<string>("SHOW work_mem") == "8MB");
        }),
        new("`SET LOCAL` in a transaction, then another client", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using var lease = await pool.Pool.RentAsync();
            await using (var transaction = await lease.BeginTransactionAsync())
            {
                await lease.DoAsync("SET LOCAL work_mem = '9MB'");
                await transaction.CommitAsync();
            }

            await using var stranger = await gateway.StrangerAsync();
            return await SeenAsync(gateway, async () => await stranger.AskAsync<string>("SHOW work_mem") == "9MB");
        }),
        new("a temporary table, in the next command of the lease", gateway => OverTwoCommandsAsync(
            gateway, "CREATE TEMP TABLE mine (n int)", lease => lease.AskAsync<bool>("SELECT to_regclass('pg_temp.mine') IS NOT NULL"))),
        new("a session advisory lock, released by the lease", gateway => OverTwoCommandsAsync(
            gateway, "SELECT pg_advisory_lock(1)", lease => lease.AskAsync<bool>("SELECT pg_advisory_unlock(1)"))),
        new("`LISTEN`, and a notification", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using var lease = await pool.Pool.RentAsync();
            await lease.DoAsync("LISTEN news");
            await gateway.Server.DoAsync("NOTIFY news");
            return await lease.Connection.WaitAsync(TimeSpan.FromMilliseconds(300)) ? Works : "**nothing arrives**";
        }),
        new("reset of what a lease left, before another client gets it", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using (var lease = await pool.Pool.RentAsync())
            {
                await lease.DoAsync("CREATE TEMP TABLE rest (n int)");
            }

            await using (var next = await pool.Pool.RentAsync())
            {
                await next.DoAsync("SELECT 1");
            }

            await using var stranger = await gateway.StrangerAsync();
            return await SeenAsync(gateway, async () => await stranger.AskAsync<bool>("SELECT to_regclass('pg_temp.rest') IS NOT NULL"));
        }),
        new("the pool's timeouts, after the pool is closed", async gateway =>
        {
            await using (var pool = await gateway.PoolAsync(options => (options.MaxSize, options.StatementTimeout) = (1, _timeout)))
            {
                await pool.Pool.FillAsync(1, default);
            }

            await using var stranger = await gateway.StrangerAsync();
            return await SeenAsync(gateway, async () => await stranger.AskAsync<string>("SHOW statement_timeout") == "1234ms");
        }),
        new("resets on behalf of the pool", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            return await ResetsAsync(gateway, "theirs", async () =>
            {
                await using var lease = await pool.Pool.RentAsync();
                await lease.DoAsync("SELECT 1");
            });
        }),
        new("the same of Npgsql alone, for comparison", async gateway =>
        {
            await using var npgsql = NpgsqlDataSource.Create(gateway.ConnectionString + ";Maximum Pool Size=1");
            return await ResetsAsync(gateway, "compared", async () =>
            {
                await using var connection = await npgsql.OpenConnectionAsync();
                await connection.DoAsync("SELECT 1");
            });
        }),
    ];

    public static IReadOnlyList<MatrixRow> Timeouts { get; } =
    [
        new("`Auto`", gateway => TimeoutAsync(gateway, TimeoutStrategy.Auto)),
        new("`Startup`", gateway => TimeoutAsync(gateway, TimeoutStrategy.Startup)),
        new("`PerLease`", gateway => TimeoutAsync(gateway, TimeoutStrategy.PerLease)),
        new("`None`", gateway => TimeoutAsync(gateway, TimeoutStrategy.None)),
        new("`Auto`, start-up options dropped silently", async gateway =>
        {
            // PgBouncer only, and told to: ignore_startup_parameters = options.
            if (gateway.Bouncer is not { } bouncer)
            {
                return "–";
            }

            await bouncer.CommandAsync("SET ignore_startup_parameters = 'options'");
            try
            {
                return await TimeoutAsync(gateway, TimeoutStrategy.Auto);
            }
            finally
            {
                await bouncer.CommandAsync("SET ignore_startup_parameters = ''");
            }
        }),
        new("`Auto`, after `ALTER ROLE … SET`", async gateway =>
        {
            await gateway.Server.DoAsync("CREATE ROLE cured LOGIN; ALTER ROLE cured SET statement_timeout = '1234ms'");
            return await TimeoutAsync(gateway, TimeoutStrategy.Auto, "cured");
        }),
        new("`RentOptions.StatementTimeout`", async gateway =>
        {
            await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
            await using var lease = await pool.Pool.RentAsync(new RentOptions { StatementTimeout = _timeout });
            return await WhereAsync(gateway, lease);
        }),
    ];

    public static IReadOnlyList<MatrixRow> Trouble { get; } =
    [
        new("backend ended while its connection was idle", async gateway =>
        {
            await using var pool = await UnwatchedAsync(gateway);
            await pool.Pool.FillAsync(1, default);
            await gateway.Server.TerminateAsync("backend_type = 'client backend' AND pid <> pg_backend_pid()");
            return await AttemptsAsync(pool);
        }),
        new("restart of the pooler (directly: of the server)", async gateway =>
        {
            await using var pool = await UnwatchedAsync(gateway);
            await pool.Pool.FillAsync(1, default);
            await gateway.RestartPoolerAsync();
            return await AttemptsAsync(pool);
        }),
        new("rent during `PAUSE`, and after `RESUME`", async gateway =>
        {
            if (gateway.Bouncer is not { } bouncer)
            {
                return "–";
            }

            await bouncer.CommandAsync("PAUSE");
            return await OutageAsync(gateway, () => bouncer.CommandAsync("RESUME"));
        }),
        new("rent while the server is down, and after it came back", async gateway =>
        {
            await gateway.StopServerAsync();
            return await OutageAsync(gateway, gateway.StartServerAsync);
        }),
        new("ids that connections report", async gateway =>
        {
            await using var connection = await gateway.StrangerAsync();
            return await connection.AskAsync<int>("SELECT pg_backend_pid()") == connection.ProcessID ? "the backends'" : "the pooler's";
        }),
    ];

    /// <summary>
    /// Says whether it is seen through one of the server connections that a pooler may choose: each that did not show it is kept busy
    /// and the question asked again. The pool's own control connection may have the first choice for a moment.
    /// </summary>
    private static async Task<string> SeenAsync(Gateway gateway, Func<Task<bool>> askAsync)
    {
        var busy = new List<NpgsqlConnection>();
        try
        {
            for (var attempt = 0; attempt < 4; attempt++)
            {
                if (await askAsync())
                {
                    return "**seen**";
                }

                var stranger = await gateway.StrangerAsync();
                busy.Add(stranger);
                await stranger.DoAsync("BEGIN; SELECT 1");
            }

            return "gone";
        }
        finally
        {
            foreach (var stranger in busy)
            {
                await stranger.DisposeAsync();
            }
        }
    }

    private static async Task<string> PreparedAsync(Gateway gateway, bool automatically)
    {
        await using var pool = await gateway.PoolAsync(
            options => options.MaxSize = 2,
            text => (text.MaxAutoPrepare, text.AutoPrepareMinUsages) = (automatically ? 10 : 0, 1));
        var outcome = await Outcome.OfAsync(async () =>
        {
            for (var round = 0; round < 2; round++)
            {
                var leases = await pool.Pool.RentAsync(2, default);

                // The second time with the backend that was used last in another client's hands, if it can be.
                await using var stranger = await gateway.StrangerAsync();
                await using var transaction = await stranger.BeginTransactionAsync();
                await stranger.DoAsync(round == 0 ? "COMMIT" : "SELECT 1");
                foreach (var lease in leases)
                {
                    await using var command = lease.CreateCommand("SELECT 1 AS prepared");
                    if (!automatically)
                    {
                        await command.PrepareAsync();
                    }

                    await command.ExecuteScalarAsync();
                }

                await leases.ReturnAllAsync();
            }
        });

        // Which one depends on which backend comes when.
        return outcome is "**42P05**" or "**26000**" ? "**42P05 or 26000**" : outcome;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop(ConnectionPool pool) => pool.Rent().Do("SELECT 1");

    /// <summary>With another client that takes the backend which was used last, if it can, between the two.</summary>
    private static async Task<string> OverTwoCommandsAsync(Gateway gateway, string first, Func<Lease, Task<bool>> secondAsync)
    {
        await using var pool = await gateway.PoolAsync(options => options.MaxSize = 1);
        await using var lease = await pool.Pool.RentAsync();
        await lease.DoAsync(first);
        await using var stranger = await gateway.StrangerAsync();
        await using var transaction = await stranger.BeginTransactionAsync();
        await stranger.DoAsync("SELECT 1");
        return await secondAsync(lease) ? Works : "**lost**";
    }

    /// <summary>Whether a statement that another client has prepared, on the backend that both would get, survives the use of sessions.</summary>
    private static async Task<string> ResetsAsync(Gateway gateway, string name, Func<Task> useAsync)
    {
        await useAsync();
        await using var stranger = await gateway.StrangerAsync();
        await stranger.DoAsync($"PREPARE {name} AS SELECT 1");
        await useAsync();
        await useAsync();
        return await Outcome.OfAsync(() => stranger.DoAsync($"EXECUTE {name}")) == Outcome.Fine ? "harm nobody" : "**harm another client**";
    }

    private static async Task<string> TimeoutAsync(Gateway gateway, TimeoutStrategy strategy, string user = "postgres")
    {
        await using var pool = await gateway.PoolAsync(
            options => (options.MaxSize, options.Timeouts, options.StatementTimeout) = (1, strategy, _timeout),
            text => text.Username = user);
        var words = "";
        var refused = await Outcome.OfAsync(async () =>
        {
            // The second is served from rest.
            await pool.Pool.FillAsync(1, default);
            await using var lease = await pool.Pool.RentAsync();
            words = await WhereAsync(gateway, lease);
        });
        var warnings = pool.Logs.Entries.Count(entry => entry.EventId.Id is 120 or 140);
        return refused != Outcome.Fine ? refused : warnings switch
        {
            0 => words,
            1 => $"{words}; a warning",
            _ => $"{words}; {warnings} warnings",
        };
    }

    private static async Task<string> WhereAsync(Gateway gateway, Lease lease)
    {
        const string Show = "SHOW statement_timeout";
        var plain = await lease.AskAsync<string>(Show);
        string inside;
        await using (await lease.BeginTransactionAsync())
        {
            inside = await lease.AskAsync<string>(Show);
        }

        await using var stranger = await gateway.StrangerAsync();
        var leaked = await stranger.AskAsync<string>(Show) == "1234ms" ? ", **and for another client**" : "";
        return (plain, inside) switch
        {
            ("1234ms", "1234ms") => InForce + leaked,
            (_, "1234ms") => "in force in `lease.BeginTransaction`" + leaked,
            _ => "not in force",
        };
    }

    /// <summary>A pool that does nothing by itself: its clock stands still, and nobody watches the server.</summary>
    private static Task<PoolOnServer> UnwatchedAsync(Gateway gateway)
        => gateway.PoolAsync(options => (options.MaxSize, options.WatchServer) = (1, false), clock: new ManualTimeProvider());

    private static async Task<string> OutageAsync(Gateway gateway, Func<Task> endAsync)
    {
        await using var pool = await gateway.PoolAsync(options =>
            (options.MaxSize, options.AcquireTimeout, options.ConnectTimeout) = (1, TimeSpan.FromMilliseconds(500), TimeSpan.FromMilliseconds(300)));
        var began = TimeProvider.System.GetTimestamp();
        var isRefused = await AttemptAsync(pool) != Outcome.Fine;
        var isInTime = TimeProvider.System.GetElapsedTime(began) < TimeSpan.FromSeconds(5);
        await endAsync();
        await Eventually.True(async () => await AttemptAsync(pool) == Outcome.Fine, "callers are served again", TimeSpan.FromSeconds(20));
        return isRefused && isInTime ? "an error in time; served again" : "?";
    }

    private static Task<string> AttemptAsync(PoolOnServer pool) => Outcome.OfAsync(async () =>
    {
        await using var lease = await pool.Pool.RentAsync();
        await lease.DoAsync("SELECT 1");
    });

    /// <summary>How many callers get an error before one succeeds.</summary>
    private static async Task<string> AttemptsAsync(PoolOnServer pool)
    {
        for (var failures = new List<string>(); ;)
        {
            var outcome = await AttemptAsync(pool);
            if (outcome == Outcome.Fine)
            {
                return failures.Count == 0 ? "the next caller is served" : $"{string.Join(", ", failures)}, then served";
            }

            failures.Add(outcome);
            if (failures.Count > 5)
            {
                return string.Join(", ", failures);
            }
        }
    }
}
