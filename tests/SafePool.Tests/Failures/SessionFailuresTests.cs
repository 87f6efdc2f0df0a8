using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Failures;

public sealed class SessionFailuresTests
{
    /// <summary>What a retirement leaves to the background may come late: it must not end what was opened since.</summary>
    [Fact]
    public async Task Retire_TheBackgroundIsLate_EndsNothingThatWasOpenedSince()
    {
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 3);
        await scripted.FillAsync(3);
        var failures = scripted.Pool.Parts.Failures;
        var replace = failures.Replace!;
        using var mayReplace = new ManualResetEventSlim();
        var replaced = new TaskCompletionSource();
        failures.Replace = () =>
        {
            mayReplace.Wait();
            replace();
            replaced.SetResult();
        };

        failures.Retire(scripted.Pool.Parts.Physicals.Generation, "AP001", "RetireOn names it", grows: true);
        await scripted.FillAsync(3);
        mayReplace.Set();
        await replaced.Task;
        await scripted.FillAsync(3);

        Assert.Equal((3, 6, 3), (scripted.Snapshot.Idle, scripted.Source.Opens, (int)scripted.Snapshot.TotalClosed));
    }
}
