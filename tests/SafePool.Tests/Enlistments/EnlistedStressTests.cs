using System.Collections.Concurrent;
using System.Transactions;
using Microsoft.Extensions.Logging;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;
using static SafePool.Tests.Enlistments.TransactionalServer;

namespace SafePool.Tests.Enlistments;

/// <summary>Scopes of every kind at once, in a pool that is too small for them: what they said was committed is there, and nothing else; no socket too many, no place lost.</summary>
public sealed class EnlistedStressTests(TransactionalServer server, ITestOutputHelper output) : IClassFixture<TransactionalServer>
{
    private const int MaxSize = 4;
    private const int Workers = 10;
    private const int Rounds = 40;

    private readonly ConcurrentBag<string> _committed = [];
    private readonly ConcurrentBag<string> _undone = [];

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(SessionReset.Full)]
    [InlineData(SessionReset.Strict)]
    [InlineData(SessionReset.Rollback)]
    public async Task Scopes_OfEveryKind_LoseNothingAndKeepNothing(SessionReset reset)
    {
        var seed = Random.Shared.Next();
        output.WriteLine($"seed {seed}");
        await using var proxy = TcpProxy.Start(server.ConnectionString);
        await using var pool = await server.PoolAsync(
            options => (options.MaxSize, options.WatchServer, options.AcquireTimeout, options.Reset) = (MaxSize, false, TimeSpan.FromMilliseconds(500), reset),
            proxy: proxy);

        await Task.WhenAll(Enumerable.Range(0, Workers).Select(worker => Task.Run(() => WorkAsync(pool.Pool, new Random(seed + worker)), Cancellation)));

        await Outstanding.NoneAsync(pool.Pool, TimeSpan.FromSeconds(60));
        Assert.True(proxy.PeakConnections <= MaxSize, $"{proxy.PeakConnections} sockets at once");
        Assert.Equal(_committed.Count, await server.CountAsync([.. _committed]));
        Assert.Equal(0, await server.CountAsync([.. _undone]));
        Assert.True(_committed.Count > Rounds && _undone.Count > Rounds, $"{_committed.Count} committed, {_undone.Count} undone");
        Assert.Equal(0, await pool.AskAsync<long>("SELECT count(*) FROM pg_prepared_xacts"));
        var last = await pool.Pool.RentAsync(MaxSize, Cancellation);
        Assert.Equal(MaxSize, last.Select(lease => lease.Session()).Distinct().Count());
        Assert.All(last, lease => Assert.Equal("postgres", lease.Ask<string>("SELECT current_user::text")));
        await last.ReturnAllAsync();
        Assert.True(proxy.OpenConnections <= MaxSize, $"{proxy.OpenConnections} sockets at the end");
        output.WriteLine($"{_committed.Count} committed, {_undone.Count} undone, {pool.Snapshot.TotalOpened} opened");
    }

    /// <summary>Npgsql lets go of a connection on the thread that commits, while the pool waits for just that on another.</summary>
    [Fact]
    public async Task Scopes_ManyOneAfterTheOther_HandTheirPlaceOnEveryTime()
    {
        await using var pool = await server.PoolAsync(options => (options.MaxSize, options.AcquireTimeout) = (MaxSize, TimeSpan.FromSeconds(20)));

        await Task.WhenAll(Enumerable.Range(0, 2 * MaxSize).Select(_ => Task.Run(CommitOverAndOverAsync, Cancellation)));

        await Outstanding.NoneAsync(pool.Pool);
        Assert.Equal((MaxSize, 0), (pool.Snapshot.TotalOpened, pool.Snapshot.TotalClosed));
        Assert.DoesNotContain(pool.Logs.Entries, entry => entry.Level >= LogLevel.Warning);

        async Task CommitOverAndOverAsync()
        {
            for (var round = 0; round < 1_000; round++)
            {
                using var scope = Scope();
                await using (var lease = await pool.Pool.RentAsync(Cancellation))
                {
                    await lease.DoAsync("SELECT 1");
                }

                scope.Complete();
            }
        }
    }

    private async Task WorkAsync(ConnectionPool pool, Random random)
    {
        for (var round = 0; round < Rounds; round++)
        {
            var kind = random.Next(9);
            if (kind == 0)
            {
                await using var plain = await TryRentAsync(pool);
                if (plain != default)
                {
                    Assert.Equal(1, await plain.AskAsync<int>("SELECT 1"));
                }

                continue;
            }

            var notes = new List<string>();
            var commits = kind is not (1 or 2);
            try
            {
                using var scope = Scope(timeout: kind == 2 ? TimeSpan.FromMilliseconds(20) : default);
                await WriteAsync(pool, kind, random, notes);
                if (kind == 2)
                {
                    // Beyond its timeout.
                    await WriteAsync(pool, kind, random, notes, "; SELECT pg_sleep(0.05)");
                }

                if (commits)
                {
                    scope.Complete();
                }
            }
            catch (Exception error) when (error is TransactionException or NpgsqlException or PoolException or ObjectDisposedException or InvalidOperationException)
            {
                Assert.IsNotType<TransactionInDoubtException>(error);
                commits = false;
            }

            notes.ForEach((commits ? _committed : _undone).Add);
        }
    }

    private async Task WriteAsync(ConnectionPool pool, int kind, Random random, List<string> notes, string more = "")
    {
        switch (kind)
        {
            case 3:
                // Two at a time, so in two phases.
                await using (var first = await pool.RentAsync(Cancellation))
                await using (var second = await pool.RentAsync(Cancellation))
                {
                    await first.DoAsync(InsertOne(notes));
                    await second.DoAsync(InsertOne(notes));
                }

                break;

            case 4:
                await InsertAsync(pool, notes);
                using (var inner = Scope(TransactionScopeOption.RequiresNew))
                {
                    var own = new List<string>();
                    await InsertAsync(pool, own);
                    inner.Complete();
                    inner.Dispose();
                    own.ForEach(_committed.Add);
                }

                break;

            case 5:
                await InsertAsync(pool, notes);
                using (Scope(TransactionScopeOption.Suppress))
                {
                    await using var beside = await pool.RentAsync(Cancellation);
                    Assert.Equal(0, await beside.AskAsync<long>($"SELECT count(*) FROM notes WHERE note = '{notes[0]}'"));
                }

                break;

            case 6:
                using (var nested = Scope())
                {
                    await InsertAsync(pool, notes);
                    nested.Complete();
                }

                await InsertAsync(pool, notes);
                break;

            case 7:
                await using (var connection = await pool.OpenConnectionAsync(Cancellation))
                {
                    await connection.DoAsync(InsertOne(notes));
                }

                await using (var connection = await pool.OpenConnectionAsync(Cancellation))
                {
                    Assert.Equal(1, await connection.AskAsync<long>($"SELECT count(*) FROM notes WHERE note = '{notes[^1]}'"));
                }

                break;

            default:
                for (var lease = random.Next(1, 4); lease > 0; lease--)
                {
                    await InsertAsync(pool, notes, more);
                }

                break;
        }
    }

    private static string InsertOne(List<string> notes)
    {
        var note = NewNote();
        notes.Add(note);
        return Insert(note);
    }

    private static async Task InsertAsync(ConnectionPool pool, List<string> notes, string more = "")
    {
        await using var lease = await pool.RentAsync(Cancellation);
        await lease.DoAsync(InsertOne(notes) + more);
    }

    private static async Task<Lease> TryRentAsync(ConnectionPool pool)
    {
        try
        {
            return await pool.RentAsync(Cancellation);
        }
        catch (PoolException)
        {
            return default;
        }
    }
}
