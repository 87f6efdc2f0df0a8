using System.Runtime.CompilerServices;
using SafePool.Samples.Exhaustion.Sides;

namespace SafePool.Samples.Exhaustion.Scenarios;

/// <summary>A loop that forgets to return its connection.</summary>
internal sealed class ForgottenReturn : Scenario
{
    public override string Title => "(a) forgotten return";

    public override PoolSize Size { get; } = new(Places: 100, AcquireTimeout: TimeSpan.FromSeconds(2));

    public override int Requests => 1000;

    public override Task RunAsync(ISide side, PoolSize size, Tally tally) => tally.RepeatAsync(Requests, _ => ForgetAsync(side, tally));

    // A method of its own, so that no local of the loop keeps the connection alive.
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async Task ForgetAsync(ISide side, Tally tally)
    {
        var lease = await tally.WaitAsync(() => side.RentAsync());
        await lease.ExecuteAsync("SELECT 1");
        // And lease.Dispose() is forgotten.
    }
}
