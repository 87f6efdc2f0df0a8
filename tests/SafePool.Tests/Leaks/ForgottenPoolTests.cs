using System.Runtime.CompilerServices;
using Npgsql;
using SafePool.TestKit;
using SafePool.Tests.Integration;
using Xunit;

namespace SafePool.Tests.Leaks;

/// <summary>A pool that nobody refers to but those who await it: the collector must take neither before that has ended.</summary>
public sealed class ForgottenPoolTests
{
    private static readonly TimeSpan _bound = TimeSpan.FromSeconds(30);

    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("a rent")]
    [InlineData("a rent that is told")]
    [InlineData("a pause")]
    [InlineData("a drain")]
    public async Task Await_NobodyElseRefersToThePool_Ends(string what)
    {
        var ended = new TaskCompletionSource();
        Begin(what, await Outside.SharedServerAsync(), ended);

        await Eventually.True(
            () =>
            {
                GC.Collect();
                GC.WaitForPendingFinalizers();
                return ended.Task.IsCompleted;
            },
            $"{what} ends, because the lease that was forgotten is found",
            _bound);

        await ended.Task;
    }

    /// <summary>Nothing of the flow is on the stack of the test, and nobody keeps its task.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static void Begin(string what, string server, TaskCompletionSource ended)
        => _ = Task.Run(
            async () =>
            {
                try
                {
                    await UseAsync(what, server);
                    ended.TrySetResult();
                }
                catch (Exception error)
                {
                    ended.TrySetException(error);
                }
            },
            Cancellation);

    private static async Task UseAsync(string what, string server)
    {
        var pool = new ConnectionPool(new ConnectionPoolOptions
        {
            ConnectionString = new NpgsqlConnectionStringBuilder(server) { ApplicationName = "forgotten" }.ConnectionString,
            MaxSize = 1,
            AcquireTimeout = TimeSpan.FromSeconds(10),
            Leaks = { Threshold = TimeSpan.FromSeconds(1) },
        });
        await ForgetAsync(pool);
        switch (what)
        {
            case "a rent":
                await (await pool.RentAsync(CancellationToken.None)).DisposeAsync();
                break;
            case "a rent that is told":
                await (await pool.TryRentAsync(cancellationToken: CancellationToken.None)).Lease.DisposeAsync();
                break;
            case "a pause":
                await pool.PauseAsync(CancellationToken.None);
                break;
            default:
                Assert.True((await pool.DrainAsync(Timeout.InfiniteTimeSpan, CancellationToken.None)).Drained);
                break;
        }

        await pool.DisposeAsync();
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task ForgetAsync(ConnectionPool pool)
    {
#pragma warning disable SFP0001 // The leak is the point.
        var lease = await pool.RentAsync(CancellationToken.None);
#pragma warning restore SFP0001
        await lease.DoAsync("SELECT 1");
    }
}
