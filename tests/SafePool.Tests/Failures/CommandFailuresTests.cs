using System.Runtime.CompilerServices;
using SafePool.Lifecycle.Failures;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Failures;

public sealed class CommandFailuresTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    /// <summary>What the process keeps to hear of failures must not keep a pool that was dropped without being disposed.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Pool_DroppedAfterACommandFailed_IsCollected(bool dropIn)
    {
        var pool = await UseAndDropAsync(dropIn);

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
    private static async Task<WeakReference> UseAndDropAsync(bool dropIn)
    {
        var server = await Outside.SharedServerAsync();
        var pool = ConnectionPool.Create(server, options => options.WatchServer = false);
        if (dropIn)
        {
            await using var connection = await pool.OpenConnectionAsync(Cancellation);
            await Assert.ThrowsAnyAsync<Exception>(() => connection.DoAsync("SELECT 1 / 0"));
            Assert.Equal(1, await connection.AskAsync<int>("SELECT 1"));
        }
        else
        {
            await using var lease = await pool.RentAsync(Cancellation);
            await Assert.ThrowsAnyAsync<Exception>(() => lease.DoAsync("SELECT 1 / 0"));
            Assert.Equal(1, await lease.AskAsync<int>("SELECT 1"));
        }

        return new WeakReference(pool);
    }
}
