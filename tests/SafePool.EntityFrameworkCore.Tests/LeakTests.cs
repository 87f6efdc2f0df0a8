using System.Data.Common;
using System.Runtime.CompilerServices;
using Dapper;
using Microsoft.EntityFrameworkCore;
using SafePool.EntityFrameworkCore.Tests.Shop;
using SafePool.TestKit;
using Xunit;

namespace SafePool.EntityFrameworkCore.Tests;

/// <summary>Contexts that are not disposed, and connections that end in another way than by EF Core. Alone, because it counts collections.</summary>
[Collection(nameof(LeakTests))]
[CollectionDefinition(nameof(LeakTests), DisableParallelization = true)]
public sealed class LeakTests
{
    private readonly ManualTimeProvider _clock = new();
    private DbConnection? _kept;
    private ShopContext? _lingering;

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Overdue_ATransactionIsNeverEnded_IsReportedWithTheLineThatBeganIt()
    {
        await using var shop = await ShopPool.CreateAsync(clock: _clock);
        LeakReport? report = null;
        shop.Pool.LeakReported += told => report = told;
        await using var context = shop.Context();
        await context.Database.BeginTransactionAsync(Cancellation);

        _clock.Advance(TimeSpan.FromSeconds(31));

        await Eventually.True(() => report is not null, "it is reported");
        Assert.Equal(
            (LeakKind.Overdue, "LeakTests.cs", nameof(Overdue_ATransactionIsNeverEnded_IsReportedWithTheLineThatBeganIt), nameof(ShopContext)),
            (report!.Kind, report.Holder.File, report.Holder.Member, report.Holder.Label));
    }

    [Fact]
    public async Task Exhausted_ByContextsThatWereLeaked_TheVerdictNamesTheLine()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.MaxSize = 2, clock: _clock);
        await using var first = await LeakAsync(shop);
        await using var second = await LeakAsync(shop);
        _clock.Advance(TimeSpan.FromSeconds(31));
        await using var context = shop.Context();

        var waiting = context.Products.CountAsync(Cancellation);
        _clock.Advance(TimeSpan.FromSeconds(6));
        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);

        Assert.Equal(PoolVerdict.Leak, error.Diagnosis.Verdict);
        Assert.Matches(@"LeakTests\.cs:\d+ \(LeakAsync\)", error.Message);
    }

    [Fact]
    public async Task Collect_AContextWasDroppedWithItsConnectionOpen_ItsPlaceIsTakenBack()
    {
        await using var shop = await ShopPool.CreateAsync(clock: _clock);
        var reports = new List<LeakReport>();
        shop.Pool.LeakReported += reports.Add;
        Drop(shop);
        Assert.Equal(1, shop.Snapshot.Leased);

        Collect();
        _clock.Advance(TimeSpan.FromSeconds(31));

        await Eventually.True(() => shop.Snapshot is { Leased: 0, TotalReclaimed: 1 }, "the place is taken back");
        await Eventually.True(() => reports.Any(report => report.Kind == LeakKind.Dropped), "it is reported");
        Assert.Equal(nameof(Drop), reports.Find(report => report.Kind == LeakKind.Dropped)!.Holder.Member);
        await using var next = shop.Context();
        Assert.Equal(ShopData.Products, await next.Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Collect_OnlyTheConnectionIsKept_IsNotTakenBackWhileSomethingRunsAndReturnsWhenClosed()
    {
        await using var shop = await ShopPool.CreateAsync(clock: _clock);
        KeepTheConnection(shop);

        Collect();
        _clock.Advance(TimeSpan.FromSeconds(1));

        Assert.Equal((1, 0L), (shop.Snapshot.Leased, shop.Snapshot.TotalReclaimed));
        Assert.Equal(1, await _kept!.ExecuteScalarAsync<int>("SELECT 1"));
        await _kept!.CloseAsync();
        Assert.Equal((0, 1), shop.Places);
        Drop(shop);
        Collect();
        _clock.Advance(TimeSpan.FromSeconds(31));
        await Eventually.True(() => shop.Snapshot.TotalReclaimed == 1, "a later loss on that place is still found");
    }

    [Fact]
    public async Task Collect_AContextLivesOnButIsClosed_ALaterLossOnItsPlaceIsFound()
    {
        await using var shop = await ShopPool.CreateAsync(clock: _clock);
        _lingering = shop.Context();
        await _lingering.Products.CountAsync(Cancellation);

        // Not on the stack of the open that has just ended: its frames would keep the lease.
        await Task.Yield();
        Drop(shop);

        Collect();
        _clock.Advance(TimeSpan.FromSeconds(31));

        await Eventually.True(() => shop.Snapshot.TotalReclaimed == 1, "the place is taken back");
        Assert.Equal(ShopData.Products, await _lingering.Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Collect_AContextIsInUse_KeepsItsLease()
    {
        await using var shop = await ShopPool.CreateAsync(clock: _clock);
        await using var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);

        Collect();
        _clock.Advance(TimeSpan.FromSeconds(31));
        Collect();

        Assert.Equal((1, 0L), (shop.Snapshot.Leased, shop.Snapshot.TotalReclaimed));
        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
    }

    [Fact]
    public async Task Abandoned_TheContextCanOpenAgain()
    {
        var patience = TimeSpan.FromMinutes(1);
        await using var shop = await ShopPool.CreateAsync(options => (options.Leaks.AbandonAfter, options.AcquireTimeout) = (patience, Timeout.InfiniteTimeSpan), clock: _clock);
        await using var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);
        await using var other = shop.Context();
        var waiting = other.Products.CountAsync(Cancellation);

        _clock.Advance(patience);

        await Eventually.True(() => waiting.IsCompleted, "the waiter is served");
        Assert.Equal(ShopData.Products, await waiting);
        await Assert.ThrowsAnyAsync<Exception>(() => context.Database.ExecuteSqlRawAsync("SELECT 1", Cancellation));
        await context.Database.CloseConnectionAsync();
        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        Assert.Equal(0, shop.Snapshot.Leased);
    }

    [Fact]
    public async Task Broken_TheSessionIsTerminatedWhileTheContextHoldsIt_ThePlaceIsBackAndTheContextWorksOn()
    {
        await using var shop = await ShopPool.CreateAsync(options => options.WatchServer = false);
        await using var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);
        var session = await context.Database.GetDbConnection().ExecuteScalarAsync<int>("SELECT pg_backend_pid()");
        await ShopPool.AskAsync<bool>($"SELECT pg_terminate_backend({session})");
        await Eventually.True(
            () => ShopPool.AskAsync<bool>($"SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = {session})"), "the session has ended");

        await Assert.ThrowsAnyAsync<DbException>(() => context.Database.ExecuteSqlRawAsync("SELECT 1", Cancellation));

        await Eventually.True(() => shop.Snapshot.Leased == 0, "the place is back");
        await context.Database.CloseConnectionAsync();
        Assert.Equal(ShopData.Products, await context.Products.CountAsync(Cancellation));
        Assert.Equal((0, 1), shop.Places);
    }

    private static async Task<ShopContext> LeakAsync(ShopPool shop)
    {
        var context = shop.Context();
        await context.Database.OpenConnectionAsync(Cancellation);
        return context;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Drop(ShopPool shop)
    {
        var context = shop.Context();
        context.Database.BeginTransaction();
        _ = context.Products.Count();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private void KeepTheConnection(ShopPool shop)
    {
        var context = shop.Context();
        context.Database.OpenConnection();
        _kept = context.Database.GetDbConnection();
    }

    private static void Collect()
    {
        for (var i = 0; i < 4; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
    }
}
