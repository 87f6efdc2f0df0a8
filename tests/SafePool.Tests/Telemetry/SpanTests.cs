using System.Diagnostics;
using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Telemetry;

[Collection("Telemetry")]
public sealed class SpanTests
{
    [Fact]
    public async Task Rent_ThatWaited_HasASpanFromItsBeginBelowTheCallers()
    {
        using var spans = new Spans("rent spans");
        var (scripted, leases) = await ScriptedPool.CreateFullAsync(1, options => options.Name = "spans");
        await using var disposal = scripted;
        spans.Seen.Clear();
        using var caller = new Activity("caller").Start();

        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(2));
        await leases[0].DisposeAsync();
        await (await waiting).DisposeAsync();
        await (await scripted.Pool.RentAsync(TestContext.Current.CancellationToken)).DisposeAsync();

        var span = Assert.Single(spans.Seen);
        Assert.Equal((caller.SpanId, ActivityKind.Internal, ActivityStatusCode.Unset), (span.ParentSpanId, span.Kind, span.Status));
        Assert.Equal(scripted.Clock.GetUtcNow().UtcDateTime - TimeSpan.FromSeconds(2), span.StartTimeUtc);
        Assert.Equal("spans", span.GetTagItem("db.client.connection.pool.name"));
        Assert.Same(caller, Activity.Current);
    }

    [Fact]
    public async Task Rent_ForWhichAConnectionWasOpened_HasASpan()
    {
        using var spans = new Spans("rent opened");
        await using var scripted = ScriptedPool.Create(options => options.Name = "opened");

        await scripted.FillAsync(1);

        Assert.Single(spans.Seen);
    }

    [Fact]
    public async Task Rent_ThatWaitedInVain_HasASpanWithTheError()
    {
        using var spans = new Spans("rent vain");
        var (scripted, _) = await ScriptedPool.CreateFullAsync(1, options => options.Name = "vain");
        await using var disposal = scripted;
        spans.Seen.Clear();

        var waiting = scripted.BeginRent();
        scripted.Clock.Advance(TimeSpan.FromSeconds(5));
        var error = await Assert.ThrowsAsync<PoolExhaustedException>(() => waiting);

        var span = Assert.Single(spans.Seen);
        Assert.Equal((ActivityStatusCode.Error, error.Message), (span.Status, span.StatusDescription));
        Assert.Equal("SafePool.PoolExhaustedException", span.GetTagItem("error.type"));
    }

    private sealed class Spans : IDisposable
    {
        private readonly ActivityListener _listener;

        public Spans(string name)
        {
            _listener = new ActivityListener
            {
                ShouldListenTo = source => source.Name == SafePoolTelemetry.ActivitySourceName,
                Sample = (ref ActivityCreationOptions<ActivityContext> _) => ActivitySamplingResult.AllDataAndRecorded,
                ActivityStopped = span =>
                {
                    if (span.OperationName == name)
                    {
                        Seen.Add(span);
                    }
                },
            };
            ActivitySource.AddActivityListener(_listener);
        }

        public List<Activity> Seen { get; } = [];

        public void Dispose() => _listener.Dispose();
    }
}
