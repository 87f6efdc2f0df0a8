using System.Diagnostics;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Verdicts;

/// <summary>Pools that run dry because those who hold a lease wait for another one.</summary>
public sealed class NestedVerdictTests
{
    private static readonly TimeSpan Patient = TimeSpan.FromSeconds(60);

    [Fact]
    [Trait("Conformance", "92")]
    public async Task NestedRents_KnownByTheirTraces_NamesTheOuterLine()
    {
        using var source = new ActivitySource($"{nameof(NestedVerdictTests)}-{Environment.ProcessId}");
        using var listener = new ActivityListener { ShouldListenTo = heard => heard == source, Sample = (ref _) => ActivitySamplingResult.AllData };
        ActivitySource.AddActivityListener(listener);
        await using var scene = await Scene.CreateAsync(3);
        async Task RequestAsync(OrderService service, TimeSpan patience)
        {
            using var request = source.StartActivity("POST /ship");
            await service.ShipAsync(patience);
        }

        scene.Start(2, service => RequestAsync(service, Patient));
        var impatient = RequestAsync(scene.Service, TimeSpan.FromSeconds(1));
        await scene.HeldAsync(3, holder => holder.Activity == LeaseActivity.Idle);
        scene.Service.LetAudit();

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => impatient);

        AssertNested(error, 3);
        Assert.All(error.Holders, holder => Assert.Equal(32, holder.TraceId!.Length));
        Assert.Contains("NestedRents = Warn shows where", error.Message, StringComparison.Ordinal);
        VerdictPage.Shows(error);
    }

    /// <summary>A helper that opens for its caller: what it notes in its own context is gone when it returns. The trace is not.</summary>
    [Fact]
    public async Task NestedRents_ThroughAnAsyncHelperAndFlowsAreFollowed_AreKnownByTheirTraces()
    {
        using var source = new ActivitySource($"{nameof(NestedVerdictTests)}-helper-{Environment.ProcessId}");
        using var listener = new ActivityListener { ShouldListenTo = heard => heard == source, Sample = (ref _) => ActivitySamplingResult.AllData };
        ActivitySource.AddActivityListener(listener);
        await using var scene = await Scene.CreateAsync(2, options => options.Leaks.NestedRents = NestedRentPolicy.Warn);
        var mayNest = new TaskCompletionSource();
        Task<Exception?>[] requests = [NestAsync(Patient), NestAsync(TimeSpan.FromSeconds(2))];
        await scene.HeldAsync(2, holder => holder.Activity == LeaseActivity.Idle);
        mayNest.SetResult();

        var error = Assert.IsType<PoolExhaustedException>(await requests[1]);
        Assert.Null(await requests[0]);
        Assert.Equal((PoolVerdict.NestedRents, 2), (error.Diagnosis.Verdict, error.Diagnosis.Evidence[0].Places));

        async Task<Lease> OpenAsync(TimeSpan patience)
        {
            await Task.Yield();
            return await scene.Pool.RentAsync(new RentOptions { AcquireTimeout = patience });
        }

        async Task<Exception?> NestAsync(TimeSpan patience)
        {
            using var request = source.StartActivity("POST /nest");
            await using var outer = await OpenAsync(Patient);
            _ = outer.Connection;
            await mayNest.Task;
            return await Record.ExceptionAsync(async () => await (await OpenAsync(patience)).DisposeAsync());
        }
    }

    [Fact]
    [Trait("Conformance", "92")]
    public async Task NestedRents_EveryHolderWaits_FailsOneEarlyAndTheOthersGoOn()
    {
        await using var scene = await Scene.CreateAsync(3, options => options.Leaks.NestedRents = NestedRentPolicy.Warn);
        var ships = Enumerable.Range(0, 3).Select(_ => scene.Service.ShipAsync(Patient)).ToArray();
        await scene.HeldAsync(3, holder => holder.Activity == LeaseActivity.Idle);

        scene.Service.LetAudit();
        var errors = new List<PoolExhaustedException>();
        foreach (var ship in ships)
        {
            if (await Record.ExceptionAsync(() => ship) is { } error)
            {
                errors.Add(Assert.IsType<PoolExhaustedException>(error));
            }
        }

        // One is enough, but two that close the circle in the same moment may both leave.
        Assert.InRange(errors.Count, 1, 2);
        AssertNested(errors[0], 3);
        Assert.InRange(errors[0].Waited, TimeSpan.Zero, Patient / 4);
        Assert.Contains("a deadlock", errors[0].Message, StringComparison.Ordinal);
        Assert.Contains("(AuditAsync)", errors[0].Message, StringComparison.Ordinal);
        Assert.Equal(0, scene.Snapshot.Leased);
        VerdictPage.Shows(errors[0]);
    }

    [Fact]
    public async Task NestedRents_OneHolderDoesNotWait_AreNoDeadlockAndWaitForIt()
    {
        await using var scene = await Scene.CreateAsync(3, options => options.Leaks.NestedRents = NestedRentPolicy.Warn);
        scene.Start(1, service => service.QuoteAsync());
        scene.Start(1, service => service.ShipAsync(Patient));
        var impatient = scene.Service.ShipAsync(TimeSpan.FromSeconds(1.5));
        await scene.HeldAsync(3, holder => holder.Activity == LeaseActivity.Idle);
        scene.Service.LetAudit();

        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => impatient);

        AssertNested(error, 2);
        Assert.InRange(error.Waited, TimeSpan.FromSeconds(1.5), Patient);
        Assert.DoesNotContain("deadlock", error.Message, StringComparison.Ordinal);
        Assert.Equal((PoolVerdict.IdleHolders, 1), (error.Diagnosis.Evidence[1].Verdict, error.Diagnosis.Evidence[1].Places));
    }

    /// <summary>A loop rents a lease for each of its workers, who do something else first. Nobody waits for anybody.</summary>
    [Fact]
    public async Task NestedRents_EachLeaseIsHandedToAWorker_IsNoDeadlockAndEachIsServed()
    {
        await using var scene = await Scene.CreateAsync(4, options => (options.Leaks.NestedRents, options.AcquireTimeout) = (NestedRentPolicy.Warn, TimeSpan.FromSeconds(10)));
        var workers = new List<Task>();

        for (var item = 0; item < 9; item++)
        {
            var lease = await scene.Pool.RentAsync(TestContext.Current.CancellationToken);
            workers.Add(Task.Run(() => WorkAsync(lease), CancellationToken.None));
        }

        await Task.WhenAll(workers);
        Assert.Equal((0, 0L), (scene.Snapshot.Leased, scene.Snapshot.TotalTimeouts));

        static async Task WorkAsync(Lease lease)
        {
            await using var given = lease;
            await Task.Delay(TimeSpan.FromMilliseconds(500), TimeProvider.System);
            await given.DoAsync("SELECT 1");
        }
    }

    private static void AssertNested(PoolExhaustedException error, int places)
    {
        var evidence = error.Diagnosis.Evidence[0];
        Assert.Equal((PoolVerdict.NestedRents, places), (evidence.Verdict, evidence.Places));
        Assert.Contains($"{places} leases were rented at {Sites.Of(nameof(OrderService.ShipAsync))}", evidence.Text, StringComparison.Ordinal);
    }
}
