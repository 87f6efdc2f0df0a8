using Npgsql;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolSnapshotTests
{
    [Fact]
    public async Task GetSnapshot_AfterSomeOfEverything_AddsUp()
    {
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(2, options => options.MaxWaiters = 1);
        await using var disposal = scripted;
        var waiting = scripted.BeginRent();
        await Assert.ThrowsAsync<PoolRejectedException>(() => scripted.BeginRent());
        scripted.Clock.Advance(TimeSpan.FromSeconds(5));
        await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);
        scripted.Source.FailNextCloseWith(new InvalidOperationException("close"));
        leases[0].Dispose();
        leases[1].Dispose();
        leases[1].Dispose();

        var snapshot = scripted.Snapshot;

        Assert.Equal(("orders", 2), (snapshot.Name, snapshot.MaxSize));
        Assert.Equal((0, 1, 0, 0, 0), (snapshot.Leased, snapshot.Idle, snapshot.Opening, snapshot.Quarantined, snapshot.Waiting));
        Assert.Equal((2, 3, 1, 1), (snapshot.TotalRents, snapshot.TotalWaits, snapshot.TotalTimeouts, snapshot.TotalRejected));
        Assert.Equal((2, 1), (snapshot.TotalOpened, snapshot.TotalClosed));
        Assert.Equal((0, 0), (snapshot.TotalLeaksReported, snapshot.TotalReclaimed));
        Assert.Empty(snapshot.Holders);
        Assert.Equal("Pool 'orders': 0 of 2 leased, 1 idle, 0 opening, 0 waiting", scripted.Pool.ToString());
    }

    [Fact]
    public async Task GetSnapshot_LeasesAreOut_NamesTheirHoldersTheLongestFirst()
    {
        await using var scripted = ScriptedPool.Create();
        await scripted.FillAsync(2);
        using var first = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken, "LoadAsync", "/src/OrderStore.cs", 57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(3));
        using var second = await scripted.Pool.RentAsync(
            new RentOptions { Label = "nightly" }, TestContext.Current.CancellationToken, "RunAsync", "Report.cs", 8);
        scripted.Clock.Advance(TimeSpan.FromSeconds(1));

        var holders = scripted.Snapshot.Holders;

        Assert.Equal([first.Id, second.Id], holders.Select(holder => holder.LeaseId));
        Assert.Equal([TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(1)], holders.Select(holder => holder.Held));
        Assert.Equal($"lease {first.Id}, 4.0 s, rented at OrderStore.cs:57 (LoadAsync)", holders[0].ToString());
        Assert.Equal($"lease {second.Id} 'nightly', 1.0 s, rented at Report.cs:8 (RunAsync)", holders[1].ToString());
    }

    [Fact]
    [Trait("Conformance", "92")]
    [Trait("Conformance", "93")]
    public async Task RentAsync_Exhausted_TheMessageHasTheCountsTheLongestHolderAndTheRemedy()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 2);
        await scripted.FillAsync(2);
        using var longest = await scripted.Pool.RentAsync(TestContext.Current.CancellationToken, "LoadAsync", "/src/OrderStore.cs", 57);
        scripted.Clock.Advance(TimeSpan.FromSeconds(36));
        using var other = await scripted.BeginRent();
        var waiting = scripted.BeginRent();
        var patient = scripted.BeginRent(TimeSpan.FromMinutes(1));

        scripted.Clock.Advance(TimeSpan.FromSeconds(5));
        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);

        Assert.Equal(
            "Pool 'orders' exhausted: waited 5.0 s; 2 of 2 leased, 0 opening, 1 waiting. " +
            "Verdict: leak. 1 lease was rented at OrderStore.cs:57 (LoadAsync) and was not seen running a command for 41.0 s; " +
            "median hold elsewhere is 0 ms. Dispose the lease with 'using'. " +
            $"Besides, idle holders: 1 lease was rented at ScriptedPool.cs:{HolderLine(error, other)} (BeginRent) and has been held for 5.0 s mostly without a command. " +
            $"Longest: lease {longest.Id}, 41.0 s.",
            error.Message);
        Assert.Equal(PoolVerdict.Leak, error.Diagnosis.Verdict);
        Assert.Equal("docs/verdicts.md#leak", error.HelpLink);
        Assert.False(error.IsTransient);
        Assert.Equal("orders", error.PoolName);
        Assert.Equal([longest.Id, other.Id], error.Holders.Select(holder => holder.LeaseId));
        Assert.False(patient.IsCompleted);
    }

    [Fact]
    public async Task RentAsync_ExhaustedByLeasesOfAMoment_BlamesNobody()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        for (var i = 0; i < 3; i++)
        {
            await scripted.Pool.RentAsync(TestContext.Current.CancellationToken, "LoadAsync", "OrderStore.cs", 57);
        }

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => scripted.BeginRent(TimeSpan.Zero));

        Assert.Contains("Verdict: undersized. Nothing is wrong with the holders", error.Message, StringComparison.Ordinal);
        Assert.All(error.Holders, holder => Assert.Equal(("OrderStore.cs", 57), (holder.File, holder.Line)));
    }

    [Fact]
    [Trait("Conformance", "85")]
    public async Task RentAsync_TheServerIsSlow_SaysCannotConnectAndNotExhausted()
    {
        await using var scripted = ScriptedPool.Create(options => options.ConnectTimeout = TimeSpan.FromMinutes(1));
        scripted.Source.FailOpensWith = OpenErrors.ForGood();
        await Assert.ThrowsAsync<NpgsqlException>(() => scripted.BeginRent());
        scripted.Source.FailOpensWith = null;
        scripted.Source.HoldOpens = true;
        var rent = scripted.BeginRent();
        await scripted.Source.PendingOpensReachAsync(1);

        scripted.Clock.Advance(TimeSpan.FromSeconds(5));

        var error = await Assert.ThrowsAsync<ConnectTimeoutException>(() => rent);
        Assert.Contains("waited 5.0 s for a connection to open; 0 of 20 leased, 1 opening", error.Message, StringComparison.Ordinal);
        Assert.Contains($"Verdict: server unreachable. The last open failed 5.0 s ago: {OpenErrors.ForGood().Message}.", error.Message, StringComparison.Ordinal);
        Assert.IsType<NpgsqlException>(error.InnerException);
    }

    private static int HolderLine(PoolException error, Lease lease)
        => error.Snapshot.Holders.Single(holder => holder.LeaseId == lease.Id).Line;
}
