using Npgsql;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>Pools that run dry by what the holders do.</summary>
public sealed class HolderVerdictTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Fact]
    [Trait("Conformance", "92")]
    public async Task Leak_LeasesAreNeverDisposed_NamesTheLineAndTheHoldOfTheOthers()
    {
        await using var scene = await Scene.CreateAsync(4, options => options.Leaks.Threshold = TimeSpan.FromSeconds(1));
        await scene.RunAsync(12, service => service.CountAsync(0.01));
        await scene.RunAsync(4, service => service.LoadAsync());

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.Leak, 4, nameof(OrderService.LoadAsync));
        Assert.Matches(@"^4 leases were rented at .* and were not seen running a command for .*; median hold elsewhere is \d+ ms\.$", error.Diagnosis.Evidence[0].Text);
        Assert.Contains("4 of 4 leased, 0 opening, 0 waiting. Verdict: leak. 4 leases were rented at", error.Message, StringComparison.Ordinal);
        Assert.EndsWith($", pid {error.Holders[0].BackendProcessId}.", error.Message, StringComparison.Ordinal);
        Assert.InRange(error.Waited, TimeSpan.FromSeconds(1.5), TimeSpan.FromSeconds(10));
        VerdictPage.Shows(error);
    }

    [Fact]
    [Trait("Conformance", "92")]
    public async Task Leak_TheServerIsAsked_SaysThatNoCommandHasRun()
    {
        await using var scene = await Scene.CreateAsync(
            4, options => (options.Leaks.Threshold, options.Leaks.InspectBackends) = (TimeSpan.FromSeconds(1), true));
        await scene.RunAsync(12, service => service.CountAsync(0.01));
        await scene.RunAsync(4, service => service.LoadAsync());
        await scene.AskedAsync(4);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.Leak, 4, nameof(OrderService.LoadAsync));
        Assert.Contains(" and have run no command for ", error.Message, StringComparison.Ordinal);
        Assert.All(error.Holders, holder => Assert.Equal("idle", holder.Backend!.State));
        VerdictPage.Shows(error);
    }

    [Fact]
    [Trait("Conformance", "92")]
    public async Task Leak_ConnectionsAreNeverDisposed_NamesTheLine()
    {
        await using var scene = await Scene.CreateAsync(3, options => options.Leaks.Threshold = TimeSpan.FromSeconds(1));
        await scene.RunAsync(2, service => service.RefreshAsync());
        await scene.Service.LoadAsync();

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.Leak, 3, nameof(OrderService.RefreshAsync));
        Assert.Contains($"2 leases were rented at {Sites.Of(nameof(OrderService.RefreshAsync))}, 1 elsewhere,", error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    [Trait("Conformance", "27")]
    [Trait("Conformance", "92")]
    public async Task Leak_TheQueueIsFullAsWell_IsToldToWhoIsRejected()
    {
        await using var scene = await Scene.CreateAsync(
            2, options => (options.Leaks.Threshold, options.MaxWaiters) = (TimeSpan.FromMilliseconds(300), 1));
        await scene.RunAsync(2, service => service.LoadAsync());
        scene.Start(1, service => service.CountAsync());
        await scene.HeldAsync(2, holder => holder.QuietFor > TimeSpan.FromMilliseconds(500));

        var error = await scene.FailAsync<PoolRejectedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.Leak, 2, nameof(OrderService.LoadAsync));
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task IdleHolders_CallTheWebInBetween_NamesTheLine()
    {
        await using var scene = await Scene.CreateAsync(3);
        scene.Start(3, service => service.QuoteAsync());
        await scene.HeldAsync(3, holder => holder.Activity == LeaseActivity.Idle);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.IdleHolders, 3, nameof(OrderService.QuoteAsync));
        Assert.DoesNotContain("transaction", error.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task IdleHolders_InATransaction_SaysSo()
    {
        await using var scene = await Scene.CreateAsync(3);
        scene.Start(3, service => service.BookAsync());
        await scene.HeldAsync(3, holder => holder.Activity == LeaseActivity.IdleInTransaction);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.IdleHolders, 3, nameof(OrderService.BookAsync));
        Assert.Contains("all idle in a transaction", error.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
        Assert.Contains("IdleInTransactionTimeout", error.Diagnosis.Evidence[0].Remedy, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task IdleHolders_InATransactionBegunBySql_IsKnownFromTheServer()
    {
        await using var scene = await Scene.CreateAsync(2, options => options.Leaks.InspectBackends = true);
        scene.Start(2, service => service.BookBySqlAsync());
        await scene.HeldAsync(2, holder => holder.QuietFor > TimeSpan.Zero);
        await scene.AskedAsync(2);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.IdleHolders, 2, nameof(OrderService.BookBySqlAsync));
        Assert.Contains("all idle in a transaction", error.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    /// <summary>Whoever sees only the quiet would not learn that locks are held.</summary>
    [Fact]
    public async Task Leak_LeasesAreForgottenInATransaction_SaysThatToo()
    {
        await using var scene = await Scene.CreateAsync(
            2, options => (options.Leaks.Threshold, options.Leaks.InspectBackends) = (TimeSpan.FromSeconds(1), true));
        scene.Start(1, service => service.BookBySqlAsync());
        await scene.Service.LoadAsync();
        await scene.HeldAsync(2, holder => holder.QuietFor > TimeSpan.FromMilliseconds(500));
        await scene.AskedAsync(2);

        var error = await scene.FailAsync<PoolExhaustedException>();

        Assert.Equal((PoolVerdict.Leak, 2), (error.Diagnosis.Verdict, error.Diagnosis.Evidence[0].Places));
        Assert.Contains(", 1 of them idle in a transaction", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task SlowQueries_RunForLong_NamesTheLine()
    {
        await using var scene = await Scene.CreateAsync(3);
        scene.Start(3, service => service.ReportAsync());
        await scene.BusyAsync(3);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.SlowQueries, 3, nameof(OrderService.ReportAsync));
        Assert.Contains("(now none)", error.Diagnosis.Evidence[0].Remedy, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task SlowQueries_WaitForALock_NamesTheWaitEvent()
    {
        await using var blocker = new NpgsqlConnection(await Outside.SharedServerAsync());
        await blocker.OpenAsync(Cancellation);
        await blocker.AskAsync<string>($"SELECT pg_advisory_lock({Environment.ProcessId})::text");
        await using var scene = await Scene.CreateAsync(
            3, options => (options.Leaks.InspectBackends, options.StatementTimeout) = (true, TimeSpan.FromSeconds(60)));
        scene.Start(2, service => service.ReserveAsync(Environment.ProcessId));
        scene.Start(1, service => service.ReportAsync());
        await scene.BusyAsync(3);
        await scene.AskedAsync(3);

        var error = await scene.FailAsync<PoolExhaustedException>();

        AssertOnly(error.Diagnosis, PoolVerdict.SlowQueries, 3, nameof(OrderService.ReserveAsync));
        Assert.Contains("2 of them waiting for Lock: advisory", error.Diagnosis.Evidence[0].Text, StringComparison.Ordinal);
        Assert.Contains("lower StatementTimeout", error.Diagnosis.Evidence[0].Remedy, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    /// <summary>Seen four times a second, many short commands look like one long one; the server knows better.</summary>
    [Fact]
    public async Task Undersized_ManyShortCommandsInOneLease_AreNotTakenForASlowOneWhereTheServerIsAsked()
    {
        await using var scene = await Scene.CreateAsync(2, options => options.Leaks.InspectBackends = true);
        scene.Start(2, service => service.PollAsync());
        await scene.HeldAsync(2);

        var error = await scene.FailAsync<PoolExhaustedException>(TimeSpan.FromSeconds(3));

        Assert.Equal(PoolVerdict.Undersized, error.Diagnosis.Verdict);
        Assert.Contains(Sites.Of(nameof(OrderService.PollAsync)), error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    [Fact]
    public async Task Undersized_MoreWorkThanThePoolCanDo_GivesTheFigures()
    {
        await using var scene = await Scene.CreateAsync(2);
        scene.Start(60, async service =>
        {
            while (true)
            {
                await service.CountAsync(0.1);
            }
        });

        var error = await scene.FailAsync<PoolExhaustedException>();

        Assert.Equal(PoolVerdict.Undersized, error.Diagnosis.Verdict);
        Assert.Equal(2, error.Diagnosis.Evidence[0].Places);
        Assert.Matches(@"[1-9][\d.]* leases a second, held for \d+ ms on average", error.Diagnosis.Evidence[0].Text);
        VerdictPage.Shows(error);
    }

    private static void AssertOnly(Diagnosis diagnosis, PoolVerdict verdict, int places, string script)
    {
        var evidence = Assert.Single(diagnosis.Evidence);
        Assert.Equal((verdict, places), (evidence.Verdict, evidence.Places));
        Assert.Contains(Sites.Of(script), evidence.Text, StringComparison.Ordinal);
        Assert.Equal(verdict, diagnosis.Verdict);
    }
}
