using SafePool.TestKit;
using Xunit;

namespace SafePool.Tests.Pool;

public sealed class ConnectionPoolContextTests
{
    private static readonly AsyncLocal<string?> _caller = new();

    private readonly List<string?> _seen = [];

    [Fact]
    [Trait("Conformance", "103")]
    public async Task RentAsync_OpensAConnection_DoesNotShowTheCallersAsyncLocalToTheHook()
    {
        await using var scripted = ScriptedPool.Create(Watch);
        _caller.Value = "first caller";

        using var lease = await scripted.BeginRent();

        Assert.Null(Assert.Single(_seen));
    }

    [Fact]
    [Trait("Conformance", "103")]
    public async Task Rent_OpensAConnectionOnAThread_DoesNotShowTheCallersAsyncLocalToTheHook()
    {
        await using var scripted = ScriptedPool.Create(Watch);
        _caller.Value = "first caller";

        using var lease = scripted.Pool.Rent();

        Assert.Null(Assert.Single(_seen));
    }

    [Fact]
    [Trait("Conformance", "103")]
    public async Task WarmUpAsync_OpensAConnection_DoesNotShowTheCallersAsyncLocalToTheHook()
    {
        await using var scripted = ScriptedPool.Create(options =>
        {
            Watch(options);
            options.MinSize = 1;
        });
        _caller.Value = "first caller";

        await scripted.Pool.WarmUpAsync(TestContext.Current.CancellationToken);

        Assert.Null(Assert.Single(_seen));
    }

    [Fact]
    [Trait("Conformance", "103")]
    public async Task RentAsync_WaitsAndOpens_LeavesTheCallersAsyncLocalInNoTimer()
    {
        ContextWatcher? watcher = null;
        _caller.Value = "first caller";
        await using var scripted = ScriptedPool.Create(options => options.MaxSize = 1, clock => watcher = new ContextWatcher(clock));
        var lease = await scripted.BeginRent();
        var waiting = scripted.BeginRent();
        await lease.DisposeAsync();
        await (await waiting).DisposeAsync();

        Assert.NotEmpty(watcher!.Flows);
        Assert.All(watcher.Flows, Assert.Null);
    }

    private void Watch(ConnectionPoolOptions options) => options.PhysicalConnectionOpened = (_, _) =>
    {
        lock (_seen)
        {
            _seen.Add(_caller.Value);
        }

        return ValueTask.CompletedTask;
    };

    /// <summary>Notes what the callback of every timer would see of its creator.</summary>
    private sealed class ContextWatcher(TimeProvider inner) : TimeProvider
    {
        private readonly Lock _gate = new();
        private readonly List<string?> _flows = [];

        public IReadOnlyList<string?> Flows
        {
            get
            {
                lock (_gate)
                {
                    return [.. _flows];
                }
            }
        }

        public override long TimestampFrequency => inner.TimestampFrequency;

        public override long GetTimestamp() => inner.GetTimestamp();

        public override DateTimeOffset GetUtcNow() => inner.GetUtcNow();

        public override ITimer CreateTimer(TimerCallback callback, object? state, TimeSpan dueTime, TimeSpan period)
        {
            string? flow = null;
            if (ExecutionContext.Capture() is { } context)
            {
                ExecutionContext.Run(context, _ => flow = _caller.Value, null);
            }

            lock (_gate)
            {
                _flows.Add(flow);
            }

            return inner.CreateTimer(callback, state, dueTime, period);
        }
    }
}
