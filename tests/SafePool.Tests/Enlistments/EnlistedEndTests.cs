using System.Transactions;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;
using static SafePool.Tests.Enlistments.EnlistedLeaseTests;
using static SafePool.Tests.Enlistments.TransactionalServer;

namespace SafePool.Tests.Enlistments;

/// <summary>Transactions that end otherwise than by disposing their scope in good order.</summary>
public sealed class EnlistedEndTests(TransactionalServer server) : IClassFixture<TransactionalServer>
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task ScopeTimesOut_AndIsNeverDisposed_ThePlaceComesBackAndNothingIsCommitted(bool isReturned)
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        var (scope, lease, session) = await AbandonAsync(pool.Pool, note, isReturned);

        if (!isReturned)
        {
            await Eventually.True(async () => await pool.ActivityAsync(session) is "idle" or "gone", "its transaction has been rolled back");
            await lease.DisposeAsync();
        }

        await Outstanding.NoneAsync(pool.Pool);
        await using (var next = await pool.Pool.RentAsync(Cancellation))
        {
            Assert.Equal(0, await next.AskAsync<long>($"SELECT count(*) FROM notes WHERE note = '{note}'"));
        }

        // The user of a lease that was out may have been about to say something: that connection is not used again.
        Assert.Equal(isReturned ? 1 : 2, pool.Snapshot.TotalOpened);
        GC.KeepAlive(scope);
    }

    [Fact]
    public async Task ScopeTimesOut_WhileACommandRuns_ThePlaceComesBackAndNothingIsCommitted()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        var error = await Record.ExceptionAsync(async () =>
        {
            using var scope = Scope(timeout: TimeSpan.FromMilliseconds(300));
            await using var lease = await pool.Pool.RentAsync(Cancellation);
            await lease.DoAsync(Insert(note));
            await Record.ExceptionAsync(() => lease.DoAsync("SELECT pg_sleep(60)"));
            scope.Complete();
        });

        Assert.IsType<TransactionAbortedException>(error);
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(0, await server.CountAsync(note));
        await using var next = await pool.Pool.RentAsync(Cancellation);
        Assert.Equal(1, await next.AskAsync<int>("SELECT 1"));
    }

    [Fact]
    public async Task Rent_InATransactionThatWasRolledBack_FailsAsWithNpgsqlAndCostsNothing()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        using (Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, Insert(NewNote()));
            Transaction.Current!.Rollback();

            var ours = await Record.ExceptionAsync(async () => await pool.Pool.RentAsync(Cancellation));
            var theirs = await Record.ExceptionAsync(() => new NpgsqlConnection(server.ConnectionString).OpenAsync(Cancellation));
            Assert.IsType<TransactionException>(theirs, exactMatch: false);
            Assert.Equal(theirs.GetType(), ours?.GetType());
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal((1, 0), (pool.Snapshot.TotalOpened, pool.Snapshot.TotalClosed));
    }

    [Fact]
    public async Task Commit_RefusedByTheServer_IsTheCallersErrorAndTheConnectionLives()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        var error = await Record.ExceptionAsync(async () =>
        {
            using var scope = Scope();
            await UseAsync(pool.Pool, Way.RentAsync, Insert(note));
            await UseAsync(pool.Pool, Way.RentAsync, Insert(note));
            scope.Complete();
        });

        Assert.Equal("23505", Assert.IsType<PostgresException>(Assert.IsType<TransactionAbortedException>(error).InnerException).SqlState);
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(0, await server.CountAsync(note));
        await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
        Assert.Equal(1, pool.Snapshot.TotalOpened);
    }

    [Theory]
    [InlineData(true, true)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(false, false)]
    public async Task ConnectionLost_DuringTheScope_NothingIsCommittedAndThePlaceIsFree(bool isReturned, bool goesOn)
    {
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.WatchServer) = (1, false));
        var note = NewNote();
        var error = await Record.ExceptionAsync(async () =>
        {
            using var scope = Scope();
            var lease = await pool.Pool.RentAsync(Cancellation);
            await lease.DoAsync(Insert(note));
            var session = lease.Session();
            if (isReturned)
            {
                await lease.DisposeAsync();
            }

            using (Scope(TransactionScopeOption.Suppress))
            {
                await pool.TerminateAsync(session);
            }

            if (!isReturned)
            {
                await Record.ExceptionAsync(() => lease.DoAsync("SELECT 1"));
                await lease.DisposeAsync();
            }

            if (goesOn)
            {
                await Record.ExceptionAsync(() => UseAsync(pool.Pool, Way.RentAsync, Insert(NewNote())));
            }

            scope.Complete();
        });

        Assert.True(error is TransactionException, $"{error}");
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(0, await server.CountAsync(note));
        await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
        Assert.Single(await pool.SessionsAsync());
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Clear_DuringTheScope_LetsItCommit(bool isReturned)
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var notes = (First: NewNote(), Second: NewNote());
        int first;
        using (var scope = Scope())
        {
            await using (var lease = await pool.Pool.RentAsync(Cancellation))
            {
                first = lease.Session();
                await lease.DoAsync(Insert(notes.First));
                if (!isReturned)
                {
                    pool.Pool.Clear();
                }
            }

            if (isReturned)
            {
                pool.Pool.Clear();
            }

            Assert.Equal(first, await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.Second)));
            scope.Complete();
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(2, await server.CountAsync(notes.First, notes.Second));
        Assert.NotEqual(first, await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1"));
        await pool.SessionsBecomeAsync(1);
    }

    /// <summary>More room than Npgsql's limit has takes another data source, and that of the transaction is the old one.</summary>
    [Fact]
    public async Task Reconfigure_MuchLargerDuringTheScope_LetsItCommit()
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var notes = (First: NewNote(), Second: NewNote());
        using (var scope = Scope())
        {
            var first = await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.First));
            pool.Pool.Reconfigure(options => options.MaxSize = 30);
            Assert.Equal(first, await UseAsync(pool.Pool, Way.RentAsync, Insert(notes.Second)));
            scope.Complete();
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(2, await server.CountAsync(notes.First, notes.Second));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Drain_WaitsForParkedPlacesAndNamesThem(bool endsInTime)
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 2);
        var note = NewNote();
        Task<DrainReport> drain;
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, Insert(note));
            if (!endsInTime)
            {
                var report = await pool.Pool.DrainAsync(TimeSpan.FromMilliseconds(50), Cancellation);
                Assert.False(report.Drained);
                Assert.Equal(LeaseActivity.AwaitingTransaction, Assert.Single(report.Remaining).Activity);
            }

            drain = pool.Pool.DrainAsync(TimeSpan.FromSeconds(30), Cancellation);
            await Assert.ThrowsAsync<PoolClosedException>(async () => await pool.Pool.RentAsync(Cancellation));
            Assert.False(drain.IsCompleted);
            scope.Complete();
        }

        Assert.True((await drain).Drained);
        Assert.Equal(1, await server.CountAsync(note));
        await pool.SessionsBecomeAsync(0);
    }

    [Fact]
    public async Task Dispose_OfThePoolDuringTheScope_LetsItCommitAndLeavesNoSession()
    {
        var pool = await server.PoolAsync(options => options.MaxSize = 2);
        var note = NewNote();
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, Insert(note));
            await pool.DisposeAsync();
            scope.Complete();
        }

        Assert.Equal(1, await server.CountAsync(note));
        await pool.SessionsBecomeAsync(0);
    }

    [Theory]
    [InlineData("reader")]
    [InlineData("command")]
    [InlineData("copy")]
    public async Task Return_OfABusyLease_DoomsItsTransaction(string left)
    {
        await using var pool = await server.PoolAsync(options => options.MaxSize = 1);
        var note = NewNote();
        Task running = Task.CompletedTask;
        var error = await Record.ExceptionAsync(async () =>
        {
            using var scope = Scope();
            await using (var lease = await pool.Pool.RentAsync(Cancellation))
            {
                await lease.DoAsync(Insert(note));
                switch (left)
                {
                    case "reader":
                        await using (var command = lease.CreateCommand("SELECT generate_series(1, 1000000)"))
                        {
                            Assert.True(await (await command.ExecuteReaderAsync(Cancellation)).ReadAsync(Cancellation));
                        }

                        break;
                    case "command":
                        running = Record.ExceptionAsync(() => lease.DoAsync("SELECT pg_sleep(60)")).AsTask();
                        break;
                    default:
                        await lease.Connection.BeginTextImportAsync("COPY notes FROM STDIN", Cancellation);
                        break;
                }
            }

            scope.Complete();
        });

        await running;
        Assert.IsType<TransactionAbortedException>(error);
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(0, await server.CountAsync(note));
        await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
    }

    [Fact]
    public async Task HookFails_OnTheWayBack_DoomsTheTransaction()
    {
        var fails = false;
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.LeaseReturning) =
            (1, (_, _) => fails ? throw new InvalidOperationException("as wanted") : ValueTask.CompletedTask));
        var note = NewNote();
        var error = await Record.ExceptionAsync(async () =>
        {
            using var scope = Scope();
            fails = true;
            await UseAsync(pool.Pool, Way.RentAsync, Insert(note));
            fails = false;
            scope.Complete();
        });

        Assert.IsType<TransactionAbortedException>(error);
        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(0, await server.CountAsync(note));
    }

    [Fact]
    public async Task LeaseDropped_WithinTheScope_IsTakenBackAndTheTransactionCommits()
    {
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.Leaks.Threshold) = (1, TimeSpan.FromSeconds(1)));
        var note = NewNote();
        using (var scope = Scope())
        {
            await DropAsync(pool.Pool, note);
            await Eventually.True(
                () =>
                {
                    GC.Collect();
                    GC.WaitForPendingFinalizers();
                    return pool.Snapshot.Holders is [{ Activity: LeaseActivity.AwaitingTransaction }];
                },
                "the lease was found");
            await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
            scope.Complete();
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(1, await server.CountAsync(note));
    }

    [Fact]
    public async Task ParkedPlace_IsNoLeakHoweverLong()
    {
        var clock = new ManualTimeProvider();
        await using var pool = await PoolOnServer.CreateAsync(
            options => (options.MaxSize, options.Leaks.Threshold) = (1, TimeSpan.FromSeconds(1)), clock: clock, server: server.ConnectionString);
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
            clock.Advance(TimeSpan.FromMinutes(1));
            pool.Pool.Maintain();

            var holder = Assert.Single(pool.Snapshot.Holders);
            Assert.Equal((LeaseActivity.AwaitingTransaction, nameof(UseAsync)), (holder.Activity, holder.Member));
            Assert.True(holder.Held >= TimeSpan.FromMinutes(1));
            scope.Complete();
        }

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal(0, pool.Snapshot.TotalLeaksReported);
    }

    [Fact]
    public async Task EveryThreadIsBlockedInARent_ScopesStillHandTheirPlacesOn()
    {
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.AcquireTimeout) = (1, TimeSpan.FromSeconds(60)));
        ThreadPool.GetMinThreads(out var workers, out _);
        var blocked = new List<Task>();
        using (var scope = Scope())
        {
            await UseAsync(pool.Pool, Way.RentAsync, "SELECT 1");
            using (Scope(TransactionScopeOption.Suppress))
            using (ExecutionContext.SuppressFlow())
            {
                for (var i = 0; i < workers + 50; i++)
                {
                    blocked.Add(Task.Run(() => pool.Pool.Rent().Dispose(), Cancellation));
                }
            }

            scope.Complete();
        }

        await Task.WhenAll(blocked).WaitAsync(TimeSpan.FromSeconds(30), Cancellation);
        await Outstanding.NoneAsync(pool.Pool);
    }

    private static async Task<(TransactionScope Scope, Lease Lease, int Session)> AbandonAsync(ConnectionPool pool, string note, bool isReturned)
    {
        var scope = Scope(timeout: TimeSpan.FromMilliseconds(300));
        var lease = await pool.RentAsync(Cancellation);
        var session = lease.Session();
        await lease.DoAsync(Insert(note));
        if (isReturned)
        {
            await lease.DisposeAsync();
            Assert.Equal(1, pool.GetSnapshot().Leased);
        }

        return (scope, lease, session);
    }

    private static async Task DropAsync(ConnectionPool pool, string note)
    {
        var lease = await pool.RentAsync(Cancellation);
        await lease.DoAsync(Insert(note));
    }
}
