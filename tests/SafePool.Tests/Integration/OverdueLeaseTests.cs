using System.Collections.Concurrent;
using Npgsql;
using SafePool.Diagnostics;
using SafePool.Operations;
using SafePool.TestKit;
using SafePool.Tests.Leaks;
using SafePool.Time;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary>Leases that are held for too long, on a server: the same for those in the shape of a plain connection.</summary>
public sealed class OverdueLeaseTests
{
    private readonly ManualTimeProvider _clock = new();

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    [Trait("Conformance", "86")]
    public async Task OpenConnectionAsync_KeptForLongAndClosed_IsReportedAndSaidToHaveReturned(bool disposes)
    {
        await using var server = await PoolOnServer.CreateAsync(clock: _clock);
        var heard = new ConcurrentQueue<LeakKind>();
        server.Pool.LeakReported += report => heard.Enqueue(report.Kind);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        var session = connection.ProcessID;

        _clock.Advance(TimeSpan.FromSeconds(41));
        await (disposes ? connection.DisposeAsync().AsTask() : connection.CloseAsync());

        Assert.Matches(
            $@"^Pool '\w+': lease \d+, 30\.0 s, rented at OverdueLeaseTests\.cs:\d+ \({nameof(OpenConnectionAsync_KeptForLongAndClosed_IsReportedAndSaidToHaveReturned)}\), pid {session} is overdue",
            Assert.Single(server.Logs.Said(LeakKit.Leak)));
        Assert.Contains("returned after all, held 41.0 s.", Assert.Single(server.Logs.Said(LeakKit.ReturnedAfterAll)), StringComparison.Ordinal);
        await Eventually.True(() => heard.Count == 2, "both are told");
        Assert.Equal([LeakKind.Overdue, LeakKind.ReturnedAfterAll], heard);
    }

    [Fact]
    public async Task OpenConnectionAsync_KeptForLongAndBroken_IsSaidToHaveReturned()
    {
        await using var server = await PoolOnServer.CreateAsync(clock: _clock);
        var connection = await server.Pool.OpenConnectionAsync(Cancellation);
        _clock.Advance(TimeSpan.FromSeconds(31));
        await server.TerminateAsync(connection.ProcessID);

        await Assert.ThrowsAnyAsync<NpgsqlException>(() => connection.AskAsync<int>("SELECT 1"));
        await connection.DisposeAsync();

        await Eventually.True(() => server.Logs.Said(LeakKit.ReturnedAfterAll).Length == 1, "it is said");
        await Eventually.True(() => server.Snapshot.Leased == 0, "the place is back");
    }

    [Fact]
    public async Task Scan_IdleIdleInTransactionAndRunning_AreToldApart()
    {
        await using var server = await PoolOnServer.CreateAsync(clock: _clock);
        await using var idle = await server.Pool.RentAsync(Cancellation);
        await idle.DoAsync("SELECT 1");
        await using var open = await server.Pool.RentAsync(Cancellation);
        await using var transaction = await open.BeginTransactionAsync(cancellationToken: Cancellation);
        await open.DoAsync("SELECT 1");
        await using var busy = await server.Pool.RentAsync(Cancellation);
        var running = busy.DoAsync("SELECT pg_sleep(60)");

        _clock.Advance(TimeSpan.FromSeconds(30));

        var leaks = server.Logs.Said(LeakKit.Leak).ToDictionary(LeakKit.LeaseIn);
        Assert.Equal([idle.Id, open.Id], leaks.Keys.Order());
        Assert.Contains("is overdue (more than 30.0 s): not seen at work for 30.0 s. Return it with 'using'", leaks[idle.Id], StringComparison.Ordinal);
        Assert.Contains("idle in a transaction, not seen at work for 30.0 s. Commit and return it before slow work", leaks[open.Id], StringComparison.Ordinal);
        Assert.Equal(busy.Id, LeakKit.LeaseIn(Assert.Single(server.Logs.Said(LeakKit.Busy))));
        busy.Cancel();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => running);
    }

    [Fact]
    public async Task Scan_AskedForTheServersWord_KnowsOfATransactionThatWasBegunBySql()
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.Leaks.InspectBackends = true, clock: _clock);
        await using var lease = await server.Pool.RentAsync(Cancellation);
        await lease.DoAsync("BEGIN; SELECT 1");
        _clock.Advance(TimeSpan.FromSeconds(30));
        await Eventually.True(() => server.Snapshot.Holders[0].Backend is not null, "the server has answered");

        _clock.Advance(TimeSpan.FromSeconds(0.25));

        var holder = server.Snapshot.Holders[0];
        Assert.Equal((LeaseActivity.IdleInTransaction, "idle in transaction", "Client: ClientRead"), (holder.Activity, holder.Backend!.State, holder.Backend.WaitEvent));
        Assert.NotNull(holder.Backend.TransactionAge);
        Assert.Matches(@"its session is idle in transaction for .* \(Client: ClientRead\)\. Commit and return it", Assert.Single(server.Logs.Said(LeakKit.Leak)));
    }

    [Theory]
    [InlineData(LeaseTracking.Off)]
    [InlineData(LeaseTracking.CallSite)]
    [InlineData(LeaseTracking.Adaptive)]
    [Trait("Conformance", "87")]
    public async Task RentAndReturn_WithoutStacks_AllocateNothingBeyondTheConnection(LeaseTracking tracking)
    {
        await using var server = await PoolOnServer.CreateAsync(options => options.Leaks.Tracking = tracking, clock: _clock);
        await using var source = NpgsqlDataSource.Create(await Outside.SharedServerAsync());
        await server.Pool.FillAsync(1, Cancellation);
        _clock.Advance(TimeSpan.FromSeconds(1));

        var connection = Allocated(() => source.CreateConnection());

        // Until they are compiled for good, Npgsql's methods allocate more.
        await Eventually.True(() => Allocated(() => server.Pool.Rent().Dispose()) == connection, "a blocking rent allocates a connection");
        await Eventually.True(() => Allocated(() => Synchronously.Result(server.Pool.RentAsync(CancellationToken.None)).Dispose()) == connection, "a rent allocates a connection");
    }

    private static long Allocated(Action action)
    {
        const int Rounds = 10_000;
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < Rounds; i++)
        {
            action();
        }

        return (GC.GetAllocatedBytesForCurrentThread() - before) / Rounds;
    }
}
