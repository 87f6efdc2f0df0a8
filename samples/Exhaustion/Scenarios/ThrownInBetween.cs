using System.Runtime.CompilerServices;
using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion.Scenarios;

/// <summary>An exception between rent and return, in code without <c>using</c>.</summary>
internal sealed class ThrownInBetween : Scenario
{
    public override string Title => "(b) thrown in between";

    public override PoolSize Size { get; } = new(Places: 10, AcquireTimeout: TimeSpan.FromSeconds(2));

    public override int Requests => 60;

    public override async Task RunAsync(ISide side, PoolSize size, Tally tally)
    {
        var thrown = 0;
        await tally.RepeatAsync(Requests, async order =>
        {
            try
            {
                await BookAsync(side, tally, order);
            }
            catch (OrderException)
            {
                // The error page; the service goes on.
                thrown++;
            }
        });
        tally.Note($"{thrown} requests threw before their Dispose.");
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task BookAsync(ISide side, Tally tally, int order)
    {
        var lease = await tally.WaitAsync(() => side.RentAsync());
        await lease.ExecuteAsync("SELECT 1");
        if (order % 2 == 0)
        {
            throw new OrderException($"Order {order} has no lines.");
        }

        lease.Dispose();
    }

    private sealed class OrderException(string message) : Exception(message);
}
