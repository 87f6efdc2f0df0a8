using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Integration;

/// <summary><c>Dispose()</c> where the thread that blocks is the one on which others would like to go on.</summary>
public sealed class BlockingReturnTests
{
    private static CancellationToken Cancellation => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("transaction")]
    [InlineData("BEGIN")]
    [InlineData("hook")]
    [InlineData("strict")]
    [InlineData("failing hook")]
    public async Task Dispose_OnTheOnlyThreadOfASynchronizationContext_Ends(string leftToDo)
    {
        await using var server = await PoolOnServer.CreateAsync(options =>
        {
            options.MaxSize = 1;
            options.Reset = leftToDo == "strict" ? SessionReset.Strict : SessionReset.Full;
            options.LeaseReturning = !leftToDo.Contains("hook", StringComparison.Ordinal) ? null : async (connection, _) =>
            {
                // Back to the context of whoever called, as the awaits of users do.
                await connection.AskAsync<int>("SELECT 1").ConfigureAwait(true);
                if (leftToDo == "failing hook")
                {
                    throw new NotSupportedException("the hook's own");
                }
            };
        });
        using var context = new OneThreadContext();

        await context.RunAsync(() =>
        {
            var lease = server.Pool.Rent();
            if (leftToDo == "transaction")
            {
                _ = lease.BeginTransaction();
            }

            lease.Do(leftToDo == "BEGIN" ? "BEGIN; SELECT 1" : "SELECT 1");
            lease.Dispose();
        }).WaitAsync(TimeSpan.FromSeconds(10), TimeProvider.System, Cancellation);

        Assert.Equal((0, leftToDo == "failing hook" ? 0 : 1, 0), (server.Snapshot.Leased, server.Snapshot.Idle, server.Snapshot.Quarantined));
        Assert.DoesNotContain(server.Logs.Entries, entry => entry.EventId.Id == 112);
    }
}
