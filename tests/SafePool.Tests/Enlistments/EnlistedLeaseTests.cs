using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;
using static SafePool.Tests.Enlistments.TransactionalServer;

namespace SafePool.Tests.Enlistments;

/// <summary>One connection at a time within a <see cref="TransactionScope"/>.</summary>
public sealed class EnlistedLeaseTests(TransactionalServer server) : IClassFixture<TransactionalServer>
{
    public enum Way
    {
        RentAsync,
        Rent,
        RentWithOptions,
        TryRent,
        OpenConnectionAsync,
        OpenConnection,
    }

    public static TheoryData<Way, bool> WaysAndEnds => [.. from way in Enum.GetValues<Way>() from ends in Enumerable.Range(0, 2) select (way, ends == 1)];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(WaysAndEnds))]
    [Trait("Conformance", "42")]
    public async Task Scope_TwoLeasesOneAfterTheOther_HaveOneSessionAndOneFate(Way way, bool commits)
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 2);
        var notes = (First: NewNote(), Second: NewNote());
        await pool.Pool.FillAsync(2, Cancellation);
        await BeginScopesAsync(pool);
        int first, second;
        using (var scope = Scope())
        {
            first = await UseAsync(pool.Pool, way, Insert(notes.First));
            var parked = pool.Snapshot;
            Assert.Equal((1, 1), (parked.Leased, parked.Idle));
            Assert.Equal((LeaseActivity.AwaitingTransaction, first), (Assert.Single(parked.Holders).Activity, parked.Holders[0].BackendProcessId));

            second = await UseAsync(pool.Pool, way, Insert(notes.Second));
            if (commits)
            {
                scope.Complete();
            }
        }

        Assert.Equal(first, second);
        Assert.Equal(commits ? 2 : 0, await server.CountAsync(notes.First, notes.Second));
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(2, pool.Snapshot.Idle);
        Assert.Equal(2, (await pool.SessionsAsync()).Length);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Scope_ThatDoesNotFlow_IsSeenByABlockingRent(bool commits)
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        using (var scope = new TransactionScope())
        {
            using (var lease = pool.Pool.Rent())
            {
                lease.Do(Insert(note));
            }

            using (var again = pool.Pool.Rent())
            {
                Assert.Equal(1, again.Ask<long>($"SELECT count(*) FROM notes WHERE note = '{note}'"));
            }

            if (commits)
            {
                scope.Complete();
            }
        }

        Assert.Equal(commits ? 1 : 0, await server.CountAsync(note));
        await Outstanding.NoneAsync(pool.Pool);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ScopeEnds_OthersWait_TheyAreServedWithoutASocketBeyondMaxSize(bool commits)
    {
        await using var proxy = TcpProxy.Start(server.ConnectionString);
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.WatchServer) = (1, false), proxy: proxy);
        Task<Lease>[] others;
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, Insert(NewNote()));
            using (new TransactionScope(TransactionScopeOption.Suppress, TransactionScopeAsyncFlowOption.Enabled))
            {
                others = [.. Enumerable.Range(0, 3).Select(_ => pool.Pool.RentAsync(Cancellation).AsTask())];
            }

            await Eventually.True(() => pool.Snapshot.Waiting == 3, "they wait");
            Assert.DoesNotContain(others, other => other.IsCompleted);
            if (commits)
            {
                scope.Complete();
            }
        }

        foreach (var other in others)
        {
            await using var lease = await other;
            Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        }

        Assert.Equal(1, proxy.PeakConnections);
    }

    [Fact]
    public async Task Lease_StillOutWhenTheScopeEnds_SaysNoAndComesBackNormally()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var notes = (In: NewNote(), After: NewNote());
        Lease lease;
        int session;
        using (var scope = Scope())
        {
            lease = await pool.Pool.RentAsync(Cancellation);
            session = lease.Session();
            await lease.DoAsync(Insert(notes.In));
            await lease.DoAsync("SET work_mem = '7MB'");
            scope.Complete();
        }

        await Assert.ThrowsAsync<InvalidOperationException>(() => lease.DoAsync(Insert(notes.After)));
        await lease.DisposeAsync();

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal((0, 1), (pool.Snapshot.Leased, pool.Snapshot.Idle));
        Assert.Equal(1, await server.CountAsync(notes.In, notes.After));
        await using var next = await pool.Pool.RentAsync(Cancellation);
        Assert.Equal((session, "4MB"), (next.Session(), await next.AskAsync<string>("SHOW work_mem")));
    }

    [Fact]
    public async Task Connection_StillOpenWhenTheScopeEnds_ComesBackNormally()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        NpgsqlConnection connection;
        using (var scope = Scope())
        {
            connection = await pool.Pool.OpenConnectionAsync(Cancellation);
            await connection.DoAsync(Insert(note));
            scope.Complete();
        }

        await connection.DoAsync("SET work_mem = '7MB'");
        await connection.DisposeAsync();

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(1, await server.CountAsync(note));
        await using var next = await pool.Pool.RentAsync(Cancellation);
        Assert.Equal("4MB", await next.AskAsync<string>("SHOW work_mem"));
        Assert.Equal(1, pool.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task Return_AfterComplete_IsWithinTheTransaction()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        using (var scope = Scope())
        {
            await using var lease = await pool.Pool.RentAsync(Cancellation);
            await lease.DoAsync(Insert(note));
            scope.Complete();
        }

        Assert.Equal(1, await server.CountAsync(note));
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(1, pool.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task Return_OfALeaseOfNoTransaction_AfterComplete_EnlistsNothingThatItHandsOn()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        await BeginScopesAsync(pool);
        var lease = await pool.Pool.RentAsync(Cancellation);
        var waiting = pool.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => pool.Snapshot.Waiting == 1, "somebody waits");
        var note = NewNote();
        using (var scope = Scope())
        {
            scope.Complete();
            await lease.DisposeAsync();
            await using var served = await waiting;
            await served.DoAsync(Insert(note));
        }

        Assert.Equal(1, await server.CountAsync(note));
        await Outstanding.NoneAsync(pool.Pool);
    }

    [Fact]
    public async Task Rent_AfterComplete_IsRefusedAsByNpgsql()
    {
        await using var pool = await server.PoolAsync();
        using var scope = Scope();
        scope.Complete();

        await Assert.ThrowsAsync<InvalidOperationException>(async () => await pool.Pool.RentAsync(Cancellation));
        Assert.Throws<InvalidOperationException>(() => pool.Pool.OpenConnection());
        Assert.Throws<InvalidOperationException>(() => pool.Pool.TryRent(out _));

        Assert.Equal(0, pool.Snapshot.Leased);
    }

    /// <summary>Entity Framework does so with what it did not open itself.</summary>
    [Fact]
    public async Task EnlistTransaction_InTheSameTransactionOnceMore_ChangesNothing()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var notes = (First: NewNote(), Second: NewNote());
        using (var scope = Scope())
        {
            await using (var connection = await pool.Pool.OpenConnectionAsync(Cancellation))
            {
                connection.EnlistTransaction(Transaction.Current);
                await connection.DoAsync(Insert(notes.First));
            }

            await using (var lease = await pool.Pool.RentAsync(Cancellation))
            {
                // As Dapper does with what it finds closed.
                await lease.Connection.CloseAsync();
                await lease.Connection.OpenAsync(Cancellation);
                lease.Connection.EnlistTransaction(Transaction.Current);
                await lease.DoAsync(Insert(notes.Second));
            }

            scope.Complete();
        }

        Assert.Equal(2, await server.CountAsync(notes.First, notes.Second));
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(1, pool.Snapshot.TotalOpened);
    }

    [Fact]
    public async Task NestedScopes_RequiresNewAndSuppress_AreTransactionsOfTheirOwn()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 3);
        var notes = (Outer: NewNote(), Inner: NewNote(), Beside: NewNote(), Nested: NewNote());
        var sessions = new HashSet<int>();
        using (Scope())
        {
            sessions.Add(await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.Outer)));
            using (var inner = Scope(TransactionScopeOption.RequiresNew))
            {
                sessions.Add(await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.Inner)));
                inner.Complete();
            }

            using (Scope(TransactionScopeOption.Suppress))
            {
                await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.Beside));
            }

            using (var nested = Scope())
            {
                sessions.Add(await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.Nested)));
                nested.Complete();
            }
        }

        Assert.Equal(2, sessions.Count);
        Assert.Equal(2, await server.CountAsync(notes.Inner, notes.Beside));
        Assert.Equal(0, await server.CountAsync(notes.Outer, notes.Nested));
        await Outstanding.NoneAsync(pool.Pool);
    }

    [Theory]
    [InlineData(SessionReset.Full, true)]
    [InlineData(SessionReset.Full, false)]
    [InlineData(SessionReset.Strict, true)]
    [InlineData(SessionReset.Strict, false)]
    [Trait("Conformance", "42")]
    public async Task Session_AfterTheScope_IsResetBeforeTheNextLease(SessionReset reset, bool commits)
    {
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.Reset) = (1, reset));
        int session;
        using (var scope = Scope())
        {
            await using (var lease = await pool.Pool.RentAsync(Cancellation))
            {
                session = lease.Session();
                await lease.DoAsync("CREATE TEMP TABLE left_behind (x int) ON COMMIT PRESERVE ROWS; SELECT pg_advisory_lock(4711); SET work_mem = '7MB'; SET ROLE pg_monitor");
            }

            await using (var same = await pool.Pool.RentAsync(Cancellation))
            {
                Assert.Equal(("7MB", "pg_monitor"), (await same.AskAsync<string>("SHOW work_mem"), await same.AskAsync<string>("SELECT current_user::text")));
            }

            if (commits)
            {
                scope.Complete();
            }
        }

        await using var next = await pool.Pool.RentAsync(Cancellation);

        Assert.Equal((session, "4MB", "postgres"), (next.Session(), await next.AskAsync<string>("SHOW work_mem"), await next.AskAsync<string>("SELECT current_user::text")));
        Assert.Equal(0, await next.AskAsync<long>("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"));
        Assert.Equal(0, await next.AskAsync<long>("SELECT count(*) FROM pg_class WHERE relname = 'left_behind'"));
    }

    [Fact]
    public async Task Timeout_OfOneLease_IsNotThatOfTheNextInTheSameTransaction()
    {
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.StatementTimeout) = (1, TimeSpan.FromSeconds(20)));
        var own = new RentOptions { StatementTimeout = TimeSpan.FromSeconds(5) };
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
            await using (var lease = await pool.Pool.RentAsync(own, Cancellation))
            {
                Assert.Equal("5s", await lease.AskAsync<string>("SHOW statement_timeout"));
            }

            await using (var lease = await pool.Pool.RentAsync(Cancellation))
            {
                Assert.Equal("20s", await lease.AskAsync<string>("SHOW statement_timeout"));
            }

            await (await pool.Pool.RentAsync(own, Cancellation)).DisposeAsync();
            scope.Complete();
        }

        await using var next = await pool.Pool.RentAsync(Cancellation);
        Assert.Equal("20s", await next.AskAsync<string>("SHOW statement_timeout"));
    }

    [Fact]
    public async Task Hooks_RunForEveryLeaseInTheTransaction()
    {
        var (rented, returning) = (0, 0);
        await using var pool = await server.PoolAsync(options =>
        {
            options.MaxSize = 1;
            options.LeaseRented = async (connection, _) =>
            {
                rented++;
                await connection.DoAsync("SET application.tenant = 'a'");
            };
            options.LeaseReturning = async (connection, _) =>
            {
                returning++;
                await connection.DoAsync("SET application.tenant = ''");
            };
        });
        using (var scope = Scope())
        {
            for (var i = 0; i < 2; i++)
            {
                await using var lease = await pool.Pool.RentAsync(Cancellation);
                Assert.Equal("a", await lease.AskAsync<string>("SHOW application.tenant"));
            }

            scope.Complete();
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal((2, 2), (rented, returning));
    }

    [Fact]
    public async Task FirstScope_OfAPool_RenewsItsConnectionsOnce_UnlessTheStringSaysEnlist()
    {
        await using var plain = await server.PoolAsync(options => options.MaxSize = 2);
        await using var explicitly = await server.PoolAsync(options => options.MaxSize = 2, text => text.Enlist = true);
        foreach (var pool in (PoolOnServer[])[plain, explicitly])
        {
            await pool.Pool.FillAsync(2, Cancellation);
            for (var round = 0; round < 3; round++)
            {
                using var scope = Scope();
                await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
                scope.Complete();
            }

            await Outstanding.NoneAsync(pool.Pool);
        }

        Assert.InRange(plain.Snapshot.TotalOpened, 3, 4);
        Assert.Equal(2, explicitly.Snapshot.TotalOpened);
    }

    internal static async Task<int> UseAsync(ConnectionPool pool, Way way, string sql)
    {
        switch (way)
        {
            case Way.Rent:
                using (var lease = pool.Rent())
                {
                    lease.Do(sql);
                    return lease.Session();
                }

            case Way.TryRent:
                Assert.True(pool.TryRent(out var tried));
                using (tried)
                {
                    tried.Do(sql);
                    return tried.Session();
                }

            case Way.OpenConnectionAsync:
                await using (var connection = await pool.OpenConnectionAsync(Cancellation))
                {
                    await connection.DoAsync(sql);
                    return connection.ProcessID;
                }

            case Way.OpenConnection:
                using (var connection = pool.OpenConnection())
                {
                    await connection.DoAsync(sql);
                    return connection.ProcessID;
                }

            default:
                await using (var lease = way == Way.RentAsync ? await pool.RentAsync(Cancellation) : await pool.RentAsync(new RentOptions { Label = "x" }, Cancellation))
                {
                    await lease.DoAsync(sql);
                    return lease.Session();
                }
        }
    }

    /// <summary>Has the first scope of a pool behind it, and all of its connections open.</summary>
    private static async Task BeginScopesAsync(PoolOnServer pool)
    {
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
            scope.Complete();
        }

        await Outstanding.NoneAsync(pool.Pool);
        await pool.Pool.FillAsync(pool.Snapshot.MaxSize, Cancellation);
    }
}
