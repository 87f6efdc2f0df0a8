using SafePool.Admission;

namespace SafePool.Tests.Admission;

/// <summary>A waiter that tells when it goes on.</summary>
internal sealed class TestWaiter : Waiter
{
    private TaskCompletionSource<AdmissionResult> _goneOn = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public Task<AdmissionResult> GoneOn => _goneOn.Task;

    /// <summary>For the next stay.</summary>
    public void Renew() => _goneOn = new(TaskCreationOptions.RunContinuationsAsynchronously);

    protected override void GoOn()
    {
        WaitingRoom.Leave(this);
        _goneOn.SetResult(Admission);
    }
}
