using System.Diagnostics;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Kit;

public sealed class DeadRunsTests : IDisposable
{
    private readonly string _root = KitDirectories.Create(Path.Combine(Path.GetTempPath(), $"safepool-sweep-{Guid.NewGuid():N}"));

    public void Dispose() => DeadRuns.TryDelete(_root);

    [Fact]
    public async Task SweepAsync_OwnerWasKilled_StopsItsServerAndDeletesItsFiles()
    {
        var run = await RunDirectory.CreateAsync(_root, await KilledProcessAsync());
        await using var server = await StartAsync(run);
        var orphan = new ProcessIdentity(server.PostmasterId, null);

        await DeadRuns.SweepAsync(_root);

        Assert.False(orphan.IsAlive);
        Assert.Empty(Directory.GetFileSystemEntries(_root));
    }

    [Fact]
    public async Task SweepAsync_OwnerLives_LeavesItsServerAlone()
    {
        var run = await RunDirectory.CreateAsync(_root, ProcessIdentity.Current);
        await using var server = await StartAsync(run);

        await DeadRuns.SweepAsync(_root);

        Assert.True(server.IsRunning);
        Assert.Single(Directory.GetDirectories(_root));
    }

    /// <summary>Ids are given out again: a run must not be kept, or worse a process killed, for the sake of a number.</summary>
    [Fact]
    public async Task SweepAsync_OwnersIdBelongsToALaterProcess_DeletesTheRunAndSparesTheProcess()
    {
        using var bystander = Process.Start("sleep", "60");
        var owner = ProcessIdentity.Current with { StartedAt = 1 };
        var data = Directory.CreateDirectory(Path.Combine(DeadRuns.CreateDirectory(_root, owner), "data-1"));
        await File.WriteAllTextAsync(Path.Combine(data.FullName, "postmaster.pid"), $"{bystander.Id}", TestContext.Current.CancellationToken);

        await DeadRuns.SweepAsync(_root);

        Assert.Empty(Directory.GetFileSystemEntries(_root));
        Assert.False(bystander.HasExited);
        bystander.Kill();
    }

    private static async Task<PostgresServer> StartAsync(RunDirectory run)
    {
        var binaries = await PostgresBinaries.FindAsync(TestContext.Current.CancellationToken);
        return await PostgresServer.StartAsync(run, binaries!, new PostgresServerOptions(), TestContext.Current.CancellationToken);
    }

    private static async Task<ProcessIdentity> KilledProcessAsync()
    {
        using var process = Process.Start("sleep", "60");
        process.Kill();
        await process.WaitForExitAsync(TestContext.Current.CancellationToken);
        return new ProcessIdentity(process.Id, 1);
    }
}
