using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Leases of which every copy is lost. No test here collects: the pool has to see to that itself.</summary>
public sealed class DroppedLeaseTests
{
    private const int LeaseDropped = 100;

    private Lease[]? _held;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "90")]
    public async Task RentAsync_PoolIsFullOfDroppedLeases_HealsWithinOneBudgetAgainAndAgain(bool used)
    {
        await using var server = await CreateAsync(maxSize: 3);

        for (var round = 1; round <= 3; round++)
        {
            Drop(server.Pool, 3, used);
            var dropped = await server.SessionsAsync();

            var leases = await server.Pool.RentAsync(3, Cancellation);

            Assert.Empty(leases.Select(lease => lease.Session()).Intersect(dropped));
            Assert.Equal((round * 3L, round * 3L), (server.Snapshot.TotalReclaimed, server.Snapshot.TotalLeaksReported));
            await leases.ReturnAllAsync();
        }

        Assert.Equal(0, server.Snapshot.TotalTimeouts);
        await server.SessionsBecomeAsync(3);
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task Rent_BlockingOnAPoolFullOfDroppedLeases_HealsWithinOneBudget()
    {
        await using var server = await CreateAsync(maxSize: 2);
        Drop(server.Pool, 2, used: true);

        using var lease = server.Pool.Rent();

        Assert.Equal(1, lease.Ask<int>("SELECT 1"));
        await Eventually.True(() => server.Snapshot.TotalReclaimed == 2, "both are taken back");
    }

    [Fact]
    [Trait("Conformance", "91")]
    public async Task RentAsync_LeaseIsDroppedAfterTheWaitBegan_IsServed()
    {
        await using var server = await CreateAsync(maxSize: 1);
        Hold(server.Pool);
        var waiting = server.Pool.RentAsync(Cancellation).AsTask();
        await Eventually.True(() => server.Snapshot.Waiting == 1, "the second waits");

        _held = null;

        await using var lease = await waiting;
        Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        Assert.Equal(1, server.Snapshot.TotalReclaimed);
    }

    [Fact]
    public async Task RentAsync_LeaseIsKept_IsNotTakenBackHoweverFullThePool()
    {
        await using var server = await CreateAsync(maxSize: 1);
        Hold(server.Pool);

        await Assert.ThrowsAsync<PoolExhaustedException>(async () => await server.Pool.RentAsync(Cancellation));

        Assert.Equal((1, 0L), (server.Snapshot.Leased, server.Snapshot.TotalReclaimed));
        Assert.Equal(1, await _held![0].AskAsync<int>("SELECT 1"));
        await _held.ReturnAllAsync();
    }

    [Fact]
    public async Task Log_OfADroppedLease_NamesMemberFileAndLine()
    {
        await using var server = await CreateAsync(maxSize: 1);
        Drop(server.Pool, 1, used: true);

        await using var lease = await server.Pool.RentAsync(Cancellation);

        var entry = Assert.Single(server.Logs.Entries, entry => entry.EventId.Id == LeaseDropped);
        Assert.Matches(@"DroppedLeaseTests\.cs:\d+ \(Drop\)", entry.Message);
    }

    [Fact]
    public async Task DroppedLease_OverdueWithNobodyWaiting_IsTakenBackAndItsTransactionEnds()
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.Leaks.Threshold = TimeSpan.FromMilliseconds(300);
        });
        DropInATransaction(server.Pool);

        await Eventually.True(() => server.Snapshot is { TotalReclaimed: 1, Leased: 0 }, "it is taken back");

        await server.SessionsBecomeAsync(0);
    }

    /// <summary>Whatever the lease was in the middle of: nobody is there who would go on with it.</summary>
    [Theory]
    [InlineData("reader")]
    [InlineData("reader in a transaction")]
    [InlineData("small reader")]
    [InlineData("export")]
    [InlineData("import")]
    [InlineData("binary import")]
    [InlineData("command")]
    [InlineData("command in a transaction")]
    [InlineData("query that nobody awaits")]
    [InlineData("enumerator")]
    [Trait("Conformance", "90")]
    public async Task RentAsync_ALeaseWasDroppedInTheMiddleOfSomething_HealsWithinOneBudget(string work)
    {
        await using var server = await CreateAsync(maxSize: 1, acquireTimeout: 4);
        DropInTheMiddle(server.Pool, work);
        var dropped = Assert.Single(await server.SessionsAsync());

        await using var lease = await server.Pool.RentAsync(Cancellation);

        Assert.NotEqual(dropped, await lease.AskAsync<int>("SELECT pg_backend_pid()"));
        Assert.Equal((1L, 0L), (server.Snapshot.TotalReclaimed, server.Snapshot.TotalTimeouts));
        await server.SessionsBecomeAsync(1);
    }

    /// <summary>A job that has all the time in the world stands in the queue first.</summary>
    [Fact]
    [Trait("Conformance", "90")]
    public async Task RentAsync_APatientOneStandsBeforeIt_HealsWithinOneBudget()
    {
        await using var server = await CreateAsync(maxSize: 2, acquireTimeout: 5);
        DropInTheMiddle(server.Pool, "reader");
        DropInTheMiddle(server.Pool, "reader");
        var job = server.Pool.RentAsync(new RentOptions { AcquireTimeout = TimeSpan.FromMinutes(10) }, Cancellation).AsTask();

        await using var lease = await server.Pool.RentAsync(Cancellation);
        await using var ofTheJob = await job;

        Assert.Equal((2L, 0L), (server.Snapshot.TotalReclaimed, server.Snapshot.TotalTimeouts));
    }

    [Fact]
    [Trait("Conformance", "90")]
    public async Task RentAsync_NobodyMayWait_HealsAllTheSame()
    {
        await using var server = await PoolOnServer.CreateAsync(options => (options.MaxSize, options.MaxWaiters) = (1, 0));
        DropInTheMiddle(server.Pool, "reader");

        await Eventually.True(
            async () =>
            {
                await using var outcome = await server.Pool.TryRentAsync(cancellationToken: Cancellation);
                return outcome.Succeeded;
            },
            "one is not rejected");

        Assert.Equal(1L, server.Snapshot.TotalReclaimed);
    }

    /// <summary>The lease is lost, its reader is not: it goes on for longer than callers have time, and comes to its end. All of its rows are in the buffer from the start.</summary>
    [Fact]
    public async Task RentAsync_AReaderOfADroppedLeaseIsReadOn_DoesNotDisturbIt()
    {
        await using var server = await CreateAsync(maxSize: 1, acquireTimeout: 3);
        var reader = ReadOn(server.Pool, "SELECT generate_series(1, 90)");
        var impatient = Assert.ThrowsAsync<PoolExhaustedException>(() => server.Pool.RentAsync(Cancellation).AsTask());

        var rows = 0;
        for (; await reader.ReadAsync(Cancellation); rows++)
        {
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System, Cancellation);
        }

        await impatient;
        await reader.DisposeAsync();
        Assert.Equal((90, 0L), (rows, server.Snapshot.TotalReclaimed));
        await using var lease = await server.Pool.RentAsync(Cancellation);
        Assert.Equal(1L, server.Snapshot.TotalReclaimed);
    }

    /// <summary>Who goes on only after his lease was taken back gets an error, and never what the next lease reads.</summary>
    [Fact]
    public async Task Reader_OfALeaseThatWasTakenBack_ThrowsAndReadsNothingOfTheNext()
    {
        await using var server = await CreateAsync(maxSize: 1, acquireTimeout: 4);
        var reader = ReadOn(server.Pool, "SELECT 'mine' FROM generate_series(1, 1000000)");
        Assert.True(await reader.ReadAsync(Cancellation));

        await using var lease = await server.Pool.RentAsync(Cancellation);
        await using var theirs = await lease.CreateCommand("SELECT 'theirs' FROM generate_series(1, 1000000)").ExecuteReaderAsync(Cancellation);
        Assert.True(await theirs.ReadAsync(Cancellation));

        await Assert.ThrowsAnyAsync<Exception>(() => reader.ReadAsync(Cancellation));
        Assert.True(await theirs.ReadAsync(Cancellation));
        Assert.Equal("theirs", theirs.GetString(0));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static NpgsqlDataReader ReadOn(ConnectionPool pool, string sql)
    {
        var lease = pool.Rent();
        return lease.CreateCommand(sql).ExecuteReader();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void DropInTheMiddle(ConnectionPool pool, string work)
    {
        var lease = pool.Rent();
        if (work.EndsWith("in a transaction", StringComparison.Ordinal))
        {
            _ = lease.BeginTransaction();
        }

        switch (work)
        {
            case "reader" or "reader in a transaction":
                _ = lease.CreateCommand("SELECT repeat('x', 1000) FROM generate_series(1, 1000000)").ExecuteReader().Read();
                break;
            case "small reader":
                _ = lease.CreateCommand("SELECT generate_series(1, 3)").ExecuteReader().Read();
                break;
            case "export":
                _ = lease.Connection.BeginTextExport("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT").ReadLine();
                break;
            case "import":
                lease.Do("CREATE TEMPORARY TABLE given_up (id int)");
                lease.Connection.BeginTextImport("COPY given_up FROM STDIN").Write("1\n");
                break;
            case "binary import":
                lease.Do("CREATE TEMPORARY TABLE given_up (id int)");
                lease.Connection.BeginBinaryImport("COPY given_up FROM STDIN (FORMAT binary)").StartRow();
                break;
            case "command" or "command in a transaction":
                _ = lease.CreateCommand("SELECT pg_sleep(600)").ExecuteNonQueryAsync();
                break;
            case "query that nobody awaits":
                _ = lease.CreateCommand("SELECT pg_sleep(0.7), generate_series(1, 1000000)").ExecuteReaderAsync();
                break;
            case "enumerator":
                _ = NumbersAsync(lease).GetAsyncEnumerator(CancellationToken.None).MoveNextAsync().AsTask().Wait(TimeSpan.FromSeconds(10));
                break;
        }
    }

    private static async IAsyncEnumerable<int> NumbersAsync(Lease lease)
    {
        await using var held = lease;
        await using var reader = await held.CreateCommand("SELECT generate_series(1, 1000000)").ExecuteReaderAsync();
        while (await reader.ReadAsync())
        {
            yield return reader.GetInt32(0);
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop(ConnectionPool pool, int leases, bool used)
    {
        for (var i = 0; i < leases; i++)
        {
            var lease = pool.Rent();
            if (used)
            {
                lease.Do("SELECT 1");
            }
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void DropInATransaction(ConnectionPool pool)
    {
        var lease = pool.Rent();
        _ = lease.BeginTransaction();
        lease.Do("SELECT 1");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void Hold(ConnectionPool pool) => _held = [pool.Rent()];

    private static Task<PoolOnServer> CreateAsync(int maxSize, double acquireTimeout = 3)
        => PoolOnServer.CreateAsync(options => (options.MaxSize, options.AcquireTimeout) = (maxSize, TimeSpan.FromSeconds(acquireTimeout)));
}
