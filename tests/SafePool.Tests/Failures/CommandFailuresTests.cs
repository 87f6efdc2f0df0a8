using System.Runtime.CompilerServices;
using SafePool.Failures;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failures;

public sealed class CommandFailuresTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>What the process keeps to hear of failures must not keep a pool that was dropped without being disposed.</summary>
    [Fact]
    public async Task Pool_DroppedAfterACommandFailed_IsCollected()
    {
        var pool = await UseAndDropAsync();

        await Eventually.True(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return !pool.IsAlive;
            },
            "the pool is collected");
    }

    [Fact]
    public void Join_TheUsersNameIsTaken_MakesItUnique()
    {
        using var first = ConnectionPool.Create("Host=nowhere;Database=joined");
        using var second = ConnectionPool.Create("Host=nowhere;Database=joined");
        string[] own = [first.Parts.Settings.DataSourceName, second.Parts.Settings.DataSourceName];

        Assert.Equal(["joined", "joined-2"], own);
        Assert.Equal("chosen", CommandFailures.Join(own[0], "chosen"));
        Assert.Equal("chosen", CommandFailures.Join(own[0], "chosen"));
        Assert.Equal("chosen-2", CommandFailures.Join(own[1], "chosen"));
        Assert.Equal(own[0], CommandFailures.Join(own[0], null));
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task<WeakReference> UseAndDropAsync()
    {
        var server = await Outside.SharedServerAsync();
        var pool = ConnectionPool.Create(server, options => options.WatchServer = false);
        await using (var lease = await pool.RentAsync(Cancellation))
        {
            await Assert.ThrowsAnyAsync<Exception>(() => lease.DoAsync("SELECT 1 / 0"));
        }

        return new WeakReference(pool);
    }
}
